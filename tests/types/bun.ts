// Not run: compiled by tsc against @types/bun, see tests/types_test.ts.
import type { Server, ServerWebSocket } from "bun";
import type { BunServeOptions, BunServer, BunTlsOptions, BunWebSocket } from "../src/bun.ts";

declare const native: { socket: ServerWebSocket<unknown>; server: Server<unknown>; options: Bun.TLSOptions };
declare const ours: { server: BunServer; options: BunTlsOptions };

/** A WebSocket of Bun is what handlers get. */
export const socket: BunWebSocket = native.socket;
/** The options that `tlsOptions()` returns are those of `Bun.serve({ tls })`. */
export const tls: Bun.TLSOptions = ours.options;
/** What users call on a server of Bun, they can call on ours. */
export const server: Pick<
  Server<unknown>,
  "requestIP" | "subscriberCount" | "pendingRequests" | "pendingWebSockets" | "ref" | "unref" | "timeout"
> = ours.server;
/** A handler that is written for WebSockets of Bun fits. */
export const options: BunServeOptions<ServerWebSocket<{ name: string }>> = {
  fetch: () => new Response(),
  websocket: { message: (socket, message) => void socket.send(`${socket.data.name}: ${message}`) },
};
