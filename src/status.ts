/**
 * Shows from outside what a process serves: JSON, a page for a browser, and metrics for Prometheus, by one handler of
 * requests.
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
