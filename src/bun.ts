/**
 * `Bun.serve` with a certificate that can be changed.
 *
 * ```ts ignore
 * // Bun
 * import { serve } from "@x/tls-reload/bun";
 * import { reloadTls } from "@x/tls-reload/reload";
 *
 * const { state } = await reloadTls({ cert: "fullchain.pem", key: "privkey.pem" });
 * await serve(state, {
 *   port: 8443,
 *   fetch: (request, server) => new Response(`hello ${server.requestIP(request)?.address}\n`),
 * });
 * ```
 *
 * @module
 */
export { serve } from "./bun/serve.ts";
export { type BunTlsOptions, tlsOptions } from "./bun/tls_options.ts";
export {
  type BunHandler,
  type BunHandlers,
  type BunHeaders,
  type BunMessage,
  type BunRequest,
  type BunRoute,
  type BunServeOptions,
  type BunServer,
  type BunSocketAddress,
  type BunWebSocket,
  type BunWebSocketOptions,
} from "./bun/types.ts";
export { type Generation, type Mechanism } from "./native/native_server.ts";
export { type ServingOptions } from "./native/serving_options.ts";
