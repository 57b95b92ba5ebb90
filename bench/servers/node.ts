// The servers of node:tls, node:https and node:http2, which every runtime has: bare, and with a state.
import { createServer as createHttpServer } from "node:http";
import { createSecureServer as createHttp2Server, type Http2SecureServer } from "node:http2";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import { createServer as createListener, type Server } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { TlsState } from "../../mod.ts";
import { attach } from "../../src/node.ts";
import { bodyOf, ECHO, following, listen, listener, type Start } from "./serving.ts";

/** As much of a socket of `ws` as an echo takes. */
interface EchoSocket {
  on(event: "message", listener: (message: Uint8Array) => void): void;
  send(message: Uint8Array, options: { binary: boolean }): void;
}

/** Keep-alive connections stay, however long it takes to open the others. */
const NEVER_IDLE = { keepAliveTimeout: 0 };

/** An answer to whatever the first bytes are, and the end: the price of accepting, and of nothing else. */
export const greet = (secure: TLSSocket) => {
  secure.on("error", () => {});
  secure.once("data", () => secure.end("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n"));
};

export const NODE_SERVERS: Record<string, Start> = {
  "tls.createServer": ([identity]) => listen(createTlsServer(identity, greet)),
  "TlsAcceptor": following((state) => listen(overAcceptor(state, greet))),

  "https.createServer": async ([identity]) =>
    listen(await withEcho(createHttpsServer({ ...NEVER_IDLE, ...identity }, listener))),
  "TlsAcceptor and node:http": following((state) => {
    const http = createHttpServer(NEVER_IDLE, listener);
    // Deno closes a connection after its first response if the server that it was given to does not listen.
    Object.defineProperty(http, "listening", { value: true });
    return listen(overAcceptor(state, (secure) => void http.emit("connection", secure)));
  }),
  "https.createServer and attach()": following(async (state) => {
    const server = await withEcho(createHttpsServer({ ...NEVER_IDLE, ...state.tls }, listener));
    attach(state, server);
    return await listen(server);
  }),
  "https.createServer and setSecureContext()": async (identities) => {
    const server = createHttpsServer({ ...NEVER_IDLE, ...identities[0] }, listener);
    return { ...await listen(server), swap: (index) => server.setSecureContext(identities[index]) };
  },

  "http2.createSecureServer": ([identity]) => listen(answering(createHttp2Server(identity))),
  "http2.createSecureServer and attach()": following((state) => {
    const server = createHttp2Server(state.tls);
    attach(state, server);
    return listen(answering(server));
  }, { alpnProtocols: ["h2"] }),
};

/** A listener of TCP that hands each connection to the acceptor of the state. */
export function overAcceptor(state: TlsState, use: (secure: TLSSocket) => void): Server {
  return createListener({ noDelay: true }, (socket) => {
    state.acceptor().accept(socket).then(use, () => {});
  });
}

async function withEcho(server: HttpsServer): Promise<HttpsServer> {
  const { WebSocketServer } = await import("ws");
  new WebSocketServer({ server, path: ECHO }).on("connection", (socket: EchoSocket) => {
    socket.on("message", (message) => socket.send(message, { binary: false }));
  });
  return server;
}

function answering(server: Http2SecureServer): Http2SecureServer {
  return server.on("stream", (stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.end(bodyOf(headers[":path"]));
  });
}
