/**
 * `Deno.listenTls` and `Deno.serve` with a certificate that can be changed.
 *
 * ```ts ignore
 * // Deno
 * import { serve } from "jsr:@x/tls-reload/deno";
 * import { reloadTls } from "jsr:@x/tls-reload/reload";
 *
 * const { state } = await reloadTls({ cert: "fullchain.pem", key: "privkey.pem" });
 * await serve(state, { port: 8443 }, (_request, info) => new Response(`hello ${info.remoteAddr.hostname}\n`));
 * ```
 *
 * @module
 */
export { listenTls } from "./deno/listen_tls.ts";
export { serve } from "./deno/serve.ts";
export { type DenoTlsOptions, listenTlsOptions } from "./deno/tls_options.ts";
export {
  type DenoAcceptOptions,
  type DenoHttpServer,
  type DenoListenTlsOptions,
  type DenoNetAddr,
  type DenoServeHandler,
  type DenoServeHandlerInfo,
  type DenoServeOptions,
  type DenoTlsConn,
  type DenoTlsListener,
} from "./deno/types.ts";
export { type Generation, type Mechanism } from "./native/native_server.ts";
export { type ServingOptions } from "./native/serving_options.ts";
