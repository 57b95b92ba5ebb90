/**
 * Shows the status of a reloader to operators: one request handler answers with JSON, a page for a browser, or metrics
 * for Prometheus.
 *
 * ```ts
 * // Deno, Bun, Node
 * import { reloadTls } from "@x/tls-reload/reload";
 * import { statusHandler } from "@x/tls-reload/status";
 *
 * const tls = await reloadTls({ cert: "fullchain.pem", key: "privkey.pem" });
 * const handle = statusHandler(tls); // for Deno.serve(handle), Bun.serve({ fetch: handle }), Hono
 * console.log(await handle(new Request("http://localhost/metrics")).text());
 * ```
 *
 * @module
 */
export { statusHandler, type StatusSource } from "./status/handler.ts";
export {
  type CertificateStatus,
  type FollowStatus,
  type ReloaderStatus,
  type ReloadFailure,
  type WatchStatus,
} from "./reload/status.ts";
export { type CertificateRole } from "./reload/used_certificates.ts";
