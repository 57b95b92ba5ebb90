import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { createServer } from "node:net";
import process from "node:process";
import { createServer as createTlsServer, type Server, type TLSSocket } from "node:tls";
import type { TlsState } from "../../mod.ts";
import { serve as serveBun } from "../../src/bun.ts";
import { listenTls, serve as serveDeno } from "../../src/deno.ts";
import { attach } from "../../src/node.ts";
import { portOf } from "./peers.ts";

/** A server that answers each request of HTTP/1.1 with `ok`. */
export interface AnsweringServer {
  readonly port: number;
  close(): Promise<unknown>;
}

/** Serves a state. */
export type StartServer = (state: TlsState) => Promise<AnsweringServer>;

const { deno, bun } = process.versions;
const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
/** The longest that Bun takes. */
const IDLE_SECONDS = 255;

/** Not by pipe(), which stops to read when the server has ended its side. */
function answer(socket: TLSSocket): void {
  socket.on("error", () => {}).on("data", () => socket.write(ANSWER));
}

async function listen(state: TlsState, server: Server): Promise<AnsweringServer> {
  const attachment = attach(state, server);
  server.on("tlsClientError", () => {});
  await once(server.listen({ host: "127.0.0.1", port: 0, backlog: 4_096 }), "listening");
  await attachment.ready;
  const close = () => {
    attachment[Symbol.dispose]();
    (server as { closeAllConnections?: () => void }).closeAllConnections?.();
    return new Promise((resolve) => server.close(resolve));
  };
  return { port: portOf(server), close };
}

/** On Bun a server must ask for certificates from its creation on. `state.tls` of Deno has no revocation lists. */
const optionsOf = (state: TlsState) => ({ keepAliveTimeout: IDLE_SECONDS * 1_000, ...(bun && state.tls) });

/** Every kind of server that this runtime has and that knows its clients. */
export const KNOWING_SERVERS: Readonly<Record<string, StartServer>> = {
  "acceptor()": async (state) => {
    const server = createServer((socket) => void state.acceptor().accept(socket).then(answer, () => {}));
    await once(server.listen({ host: "127.0.0.1", port: 0, backlog: 4_096 }), "listening");
    return { port: portOf(server), close: () => new Promise((resolve) => server.close(resolve)) };
  },
  "attach() to tls": (state) => listen(state, createTlsServer(optionsOf(state), answer)),
  ...(!bun && {
    "attach() to https": (state: TlsState) =>
      listen(state, createHttpsServer(optionsOf(state), (_request, response) => response.end("ok"))),
  }),
  "attach() to http2": (state) =>
    listen(
      state,
      createSecureServer({ ...optionsOf(state), allowHTTP1: true }, (_request, response) => response.end("ok")),
    ),
  ...(deno && {
    "listenTls()": async (state: TlsState) => {
      const listener = await listenTls(state, { ...LOOPBACK, tcpBacklog: 4_096 });
      const loop = (async () => {
        for await (const conn of listener) {
          const respond = async () => {
            const [request, response] = [new Uint8Array(4_096), new TextEncoder().encode(ANSWER)];
            while (await conn.read(request) !== null) await conn.write(response);
          };
          // Reads until the client or the drain ends the connection.
          respond().catch(() => {}).finally(() => conn.close());
        }
      })();
      return {
        port: listener.addr.port,
        close() {
          listener.close();
          return loop;
        },
      };
    },
    "serve() of ./deno": async (state: TlsState) => {
      const server = await serveDeno(state, { ...LOOPBACK, tcpBacklog: 4_096 }, () => new Response("ok"));
      return { port: server.addr.port, close: () => server.shutdown() };
    },
  }),
};

/** Every kind of server that this runtime has. */
export const ALL_SERVERS: Readonly<Record<string, StartServer>> = {
  ...KNOWING_SERVERS,
  ...(bun && {
    "serve() of ./bun": async (state: TlsState) => {
      const fetch = () => new Response("ok");
      const server = await serveBun(state, { ...LOOPBACK, idleTimeout: IDLE_SECONDS, fetch });
      return { port: server.port, close: () => server.stop(true) };
    },
  }),
};
