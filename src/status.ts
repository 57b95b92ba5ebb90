/**
 * Shows the status of a reloader to operators: one request handler answers with JSON, a page for a browser, or metrics
 * for Prometheus.
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
