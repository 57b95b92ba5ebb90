/**
 * `Bun.serve` with a certificate that can be changed.
 *
 * @module
 */
export {
  type BunHandler,
  type BunHandlers,
  type BunRequest,
  type BunRoute,
  type BunServeOptions,
  BunServer,
  type BunTlsOptions,
  type BunWebSocket,
  type BunWebSocketOptions,
  serve,
  tlsOptions,
} from "./bun/serve.ts";
export { type FrontOptions, type Generation } from "./native/front.ts";
