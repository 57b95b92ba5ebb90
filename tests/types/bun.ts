// Not run: compiled by tsc against @types/bun, see tests/types_test.ts.
import type { Server, ServerWebSocket, WebSocketHandler } from "bun";
import { connect } from "node:tls";
import type { BunServeOptions, BunServer, BunTlsOptions, BunWebSocket } from "../src/bun.ts";
import type { TlsClientOptions } from "../src/node.ts";

declare const native: { socket: ServerWebSocket<unknown>; webSockets: WebSocketHandler<unknown> };
declare const ours: { server: BunServer; options: BunTlsOptions; client: TlsClientOptions };

/** A WebSocket of Bun is what handlers get. */
export const socket: BunWebSocket = native.socket;
/** The options that `tlsOptions()` returns are those of `Bun.serve({ tls })`. */
export const tls: Bun.TLSOptions = ours.options;
/** The options of clients are those of `fetch()` of Bun, and of `node:tls`. */
export const response: Promise<Response> = fetch("https://localhost/", { tls: ours.client });
export const secure: ReturnType<typeof connect> = connect({ ...ours.client, port: 443 });
/** Frameworks keep the server that they get: Elysia as `app.server`. */
export const server: Server<unknown> = ours.server;
/** A handler that is written for WebSockets of Bun fits. */
export const options: BunServeOptions<ServerWebSocket<{ name: string }>> = {
  fetch: () => new Response(),
  websocket: { message: (socket, message) => void socket.send(`${socket.data.name}: ${message}`) },
};
/** So do the handlers that a framework exports, and one that takes the messages as Bun gives them. */
export const exported: BunServeOptions<ServerWebSocket<unknown>>[] = [
  { fetch: () => new Response(), websocket: native.webSockets },
  {
    fetch: () => new Response(),
    websocket: { message: (socket, message: string | Buffer) => void socket.send(message) },
  },
];
