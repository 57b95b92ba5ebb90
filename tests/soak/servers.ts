// Every kind of server that a runtime has, each started on a state and answering the same.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createServer as createHttpServer, type RequestListener, type Server as HttpServer } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer as createListener, type Server } from "node:net";
import process from "node:process";
import { type Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createServer as createTlsServer, type Server as TlsServer } from "node:tls";
import type { TlsState } from "../../mod.ts";
import { serve as serveBun } from "../../src/bun.ts";
import { type Generation, listenTls, serve as serveDeno } from "../../src/deno.ts";
import { attach } from "../../src/node.ts";
import { answer } from "./content.ts";
import { answerAll } from "./deno_http.ts";

export type Protocol = "http1" | "http2" | "webSocket";

/** A server that runs. */
export interface Running {
  readonly port: number;
  readonly speaks: readonly Protocol[];
  /** How connections reach the newest configuration. */
  readonly mechanism: string;
  /** The generations that still hold connections, where the state does not count them. */
  readonly generations?: () => readonly Generation[];
  close(): unknown;
}

/** Starts a server that follows a state, and reports its errors. */
export type Start = (state: TlsState, onError: (error: unknown) => void) => Promise<Running>;

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const HANDSHAKE_TIMEOUT_MS = 5_000;
const IDLE_SECONDS = 120;
/** The handoff has no time limit for handshakes: those are Deno's own. */
const DENO_FRONT: FrontOptions = { mechanism: "front", handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS };

interface FrontOptions {
  readonly mechanism?: "front";
  readonly handshakeTimeoutMs?: number;
}

const listener: RequestListener = async (request, response) => {
  try {
    const { length, chunks } = await answer(request.url!, request);
    response.writeHead(200, { "content-length": length });
    await pipeline(Readable.from(chunks, { objectMode: false }), response);
  } catch {
    response.destroy();
  }
};

async function respond(request: Request): Promise<Response> {
  const { length, chunks } = await answer(request.url, request.body ?? []);
  const iterator = chunks[Symbol.iterator]();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const { value, done } = iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  return new Response(body, { headers: { "content-length": String(length) } });
}

/** The server's side of short WebSocket messages (RFC 6455 section 5.2). */
function echoFrames(key: string, socket: Duplex): void {
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let bytes = Buffer.alloc(0);
  socket.on("error", () => socket.destroy()).on("end", () => socket.end()).on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (let length; bytes.length >= (length = 6 + (bytes[1]! & 0x7f)) && bytes.length >= 6;) {
      const mask = bytes.subarray(2, 6);
      const payload = bytes.subarray(6, length).map((byte, at) => byte ^ mask[at % 4]!);
      socket.write(Buffer.concat([Buffer.of(bytes[0]!, payload.length), payload]));
      bytes = bytes.subarray(length);
    }
  });
}

/** HTTP/1.1 for connections that something else has accepted. */
function httpServer(): HttpServer {
  // Deno closes a connection after its first response if the server that it was given to does not listen.
  const server = Object.defineProperty(createHttpServer(listener), "listening", { value: true });
  return withWebSockets(server);
}

function withWebSockets<S extends HttpServer>(server: S): S {
  server.keepAliveTimeout = IDLE_SECONDS * 1000;
  server.on("upgrade", ({ headers }, socket) => echoFrames(headers["sec-websocket-key"]!, socket));
  return server;
}

async function listening(
  server: Server,
  speaks: readonly Protocol[],
  onError: (error: unknown) => void,
): Promise<Running> {
  await new Promise<void>((resolve) => server.listen(LOOPBACK.port, LOOPBACK.hostname, resolve));
  server.on("error", onError);
  const { port } = server.address() as AddressInfo;
  return { port, speaks, mechanism: "acceptor", close: () => void server.close() };
}

const acceptor: Start = (state, onError) => {
  const http = httpServer();
  const accept = { handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS };
  const server = createListener({ noDelay: true }, (socket) => {
    state.acceptor().accept(socket, accept).then((secure) => http.emit("connection", secure), () => {});
  });
  return listening(server, ["http1", "webSocket"], onError);
};

async function attached(state: TlsState, server: TlsServer, speaks: Protocol[], onTlsError: (error: unknown) => void) {
  const running = await listening(server, speaks, onTlsError);
  const attachment = attach(state, server, { onTlsError });
  await attachment.ready;
  return { ...running, mechanism: attachment.mechanism, generations: () => attachment.generations };
}

/** Bun's servers must have a certificate and ask for those of clients from their creation on. */
const optionsOf = (state: TlsState) => ({
  handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  ...(process.versions.bun && state.tls),
});

const tls: Start = (state, onError) => {
  const http = httpServer();
  const server = createTlsServer(optionsOf(state), (secure) => {
    secure.on("error", () => {});
    http.emit("connection", secure);
  });
  return attached(state, server, ["http1", "webSocket"], onError);
};

const https: Start = (state, onError) => {
  const server = createHttpsServer(optionsOf(state), listener);
  withWebSockets(server as unknown as HttpServer);
  return attached(state, server, ["http1", "webSocket"], onError);
};

const http2: Start = (state, onError) => {
  const server = createSecureServer(optionsOf(state));
  server.on("request", listener as unknown as (request: unknown, response: unknown) => void);
  server.on("sessionError", () => {});
  return attached(state, server as unknown as TlsServer, ["http2"], onError);
};

const denoListen = (options: FrontOptions): Start => async (state, onTlsError) => {
  const listener = await listenTls(state, { ...LOOPBACK, ...options, onTlsError });
  (async () => {
    for await (const conn of listener) answerAll(conn).catch(() => {}).finally(() => conn.close());
  })();
  const { addr: { port }, mechanism } = listener;
  const close = () => listener.close();
  return { port, speaks: ["http1"], mechanism, generations: () => listener.generations, close };
};

const denoServe = (options: FrontOptions): Start => async (state, onTlsError) => {
  const server = await serveDeno(state, { ...LOOPBACK, ...options, onTlsError }, (request) => {
    if (request.headers.get("upgrade") !== "websocket") return respond(request);
    // Its timer outlives a connection that was reset, and keeps the process.
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 });
    socket.onmessage = ({ data }) => socket.send(data);
    socket.onerror = () => {};
    return response;
  });
  return {
    port: server.addr.port,
    speaks: ["http1", "http2", "webSocket"],
    mechanism: server.mechanism,
    generations: () => server.generations,
    close: () => server.shutdown(),
  };
};

const bunServe = (options: Pick<FrontOptions, "mechanism">): Start => async (state, onTlsError) => {
  const server = await serveBun(state, {
    ...LOOPBACK,
    ...options,
    onTlsError,
    idleTimeout: IDLE_SECONDS,
    fetch: (request, server) => server.upgrade(request) ? undefined : respond(request),
    websocket: { idleTimeout: IDLE_SECONDS, message: (socket, message) => void socket.send(message) },
  });
  return {
    port: server.port,
    speaks: ["http1", "webSocket"],
    mechanism: server.mechanism,
    generations: () => server.generations,
    close: () => server.stop(),
  };
};

/** The kinds of this runtime. */
export function serverKinds(): Readonly<Record<string, Start>> {
  const { deno, bun } = process.versions;
  const portable = { acceptor, tls, https, http2 };
  if (deno) {
    return {
      ...portable,
      "deno listenTls": denoListen({}),
      "deno listenTls, front": denoListen(DENO_FRONT),
      "deno serve": denoServe({}),
      "deno serve, front": denoServe(DENO_FRONT),
    };
  }
  return bun
    ? { ...portable, "bun serve": bunServe({}), "bun serve, front": bunServe({ mechanism: "front" }) }
    : portable;
}
