/**
 * Keeps a {@linkcode TlsState} in sync with its source, such as files, Kubernetes secrets, or an API. A
 * {@linkcode Reloader} loads, compares, proves and swaps when files change, a signal arrives, a timer fires, or on
 * call.
 *
 * ```ts
 * // Deno, Bun, Node
 * import net from "node:net";
 * import { reloadTls } from "@x/tls-reload/reload";
 *
 * const { state } = await reloadTls({ cert: "fullchain.pem", key: "privkey.pem", logger: console });
 * net.createServer((socket) => {
 *   state.acceptor().accept(socket).then((secure) => secure.end("hello\n"), console.warn);
 * }).listen(8443);
 * ```
 *
 * | renewed by | reload by |
 * | --- | --- |
 * | certbot | watch `live/NAME/fullchain.pem` and `privkey.pem`; or `onSignal("SIGHUP")` and `--deploy-hook 'kill -HUP PID'` |
 * | Caddy | watch `certificates/ISSUER/NAME/NAME.crt` and `NAME.key` |
 * | lego | watch `certificates/NAME.crt` and `NAME.key` |
 * | Kubernetes | watch `tls.crt` and `tls.key` of a secret volume that is mounted whole; a `subPath` mount never changes |
 * | an API | `every(3_600_000)`, and more often where a certificate lives for hours |
 *
 * A failed reload after a signal is not retried, so watch the files as well.
 *
 * Several threads or processes that share a port each make a {@linkcode TlsState} and a {@linkcode Reloader} of their
 * own on the same files. They share the port by `listen({ port, reusePort: true })` on Linux.
 *
 * @module
 */
export { type DrainProgress, type DrainStatus } from "./accept/drain_tally.ts";
export { type Change, type SwapChanges } from "./reload/changes.ts";
export {
  type DegradedWatch,
  type Disconnect,
  type ExpiryNotice,
  type PartialFailure,
  type ReloaderEventMap,
  type ReloaderEventTarget,
  type ReloaderListener,
  type ReloaderListenerOptions,
} from "./reload/events.ts";
export { type ExpiryAlarm, type ExpiryLevels } from "./reload/expiry_alarms.ts";
export { type FollowOptions, type Subscribe } from "./reload/follow.ts";
export { type Load } from "./reload/load.ts";
export { type Logger } from "./reload/logger.ts";
export { type ReloaderOptions, type WatchOptions } from "./reload/options.ts";
export { Reloader } from "./reload/reloader.ts";
export { type ReloadingTls, reloadTls, type ReloadTlsOptions } from "./reload/reload_tls.ts";
export { type ReloadOptions, type ReloadResult } from "./reload/reload_result.ts";
export {
  type CertificateStatus,
  type FollowStatus,
  type ReloaderStatus,
  type ReloadFailure,
  type WatchStatus,
} from "./reload/status.ts";
export { type CertificateRole, type UsedCertificate, type UsedRevocationList } from "./reload/used_certificates.ts";
