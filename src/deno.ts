/**
 * `Deno.listenTls` and `Deno.serve` with a certificate that can be changed.
 *
 * @module
 */
export { type DenoAcceptOptions, type DenoNetAddr } from "./deno/handshakes.ts";
export { type DenoListenTlsOptions, type DenoTlsConn, type DenoTlsListener, listenTls } from "./deno/listen_tls.ts";
export { type DenoTlsOptions, listenTlsOptions } from "./deno/listen_tls_options.ts";
export {
  type DenoHttpServer,
  type DenoServeHandler,
  type DenoServeHandlerInfo,
  type DenoServeOptions,
  serve,
} from "./deno/serve.ts";
export { type FrontOptions, type Generation } from "./native/front.ts";
