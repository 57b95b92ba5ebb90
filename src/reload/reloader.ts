import { requireExpectUnused } from "../accept/authority_use.ts";
import { requireState, sharedBy, type TlsState } from "../accept/tls_state.ts";
import { requireOptions, requireOptionTypes, requireType } from "../arguments.ts";
import { requireExpectation } from "../config/expectation.ts";
import { requireMs } from "../durations.ts";
import { Announcer } from "./announcer.ts";
import { ReloadAttempts } from "./attempts.ts";
import { ReloaderEventTarget } from "./events.ts";
import { ExpiryAlarms } from "./expiry_alarms.ts";
import { expiryMessage } from "./expiry_message.ts";
import type { FollowOptions, Subscribe } from "./follow.ts";
import type { Load } from "./load.ts";
import { requireLogger } from "./logger.ts";
import { metricsOf } from "./metrics.ts";
import { RELOADER_OPTION_NAMES, type ReloaderOptions, type WatchOptions } from "./options.ts";
import type { ReloadOptions, ReloadResult } from "./reload_result.ts";
import type { ReloaderStatus } from "./status.ts";
import { statusOf } from "./status_of.ts";
import { Triggers } from "./triggers.ts";

const DAY_MS = 86_400_000;

/**
 * Keeps a {@linkcode TlsState} in sync with its source.
 *
 * A reload loads a configuration, compares everything that is served (chain, key, client authorities, options), proves
 * by a handshake in memory that the new configuration can serve, and swaps. A failure does not change the state, and is
 * reported once for each change. {@linkcode Reloader.watch} and {@linkcode Reloader.every} retry after a failure, with
 * growing pauses; {@linkcode Reloader.onSignal} and {@linkcode Reloader.reload} do not. Triggers can be combined. They
 * do not keep the process alive.
 *
 * A certificate that is not valid yet is kept and swapped in when its validity begins.
 *
 * The reloader is an `EventTarget`. It dispatches `swap`, `unchanged` or `pending` after a reload, `reject` after a
 * failed reload, `partial` if one certificate of several could not be loaded, `degraded` if a watch cannot notice
 * changes at once or a file is missing, and `expiring` before a certificate in use expires or a revocation list becomes
 * stale. The last four also emit a process warning, unless there is a logger or a listener calls `preventDefault()`.
 * `disconnect` reports the end of a followed stream, and `drain` the connections that end after a swap. Each event is
 * also published to the diagnostics channel `tls-reload:EVENT`, such as `tls-reload:swap`.
 *
 * Invariant: the state changes only to a configuration that was proved. After `close()` no trigger is open.
 *
 * @example Files that certbot, cert-manager or anything else renews
 * ```ts
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { Reloader } from "@x/tls-reload/reload";
 *
 * const files = ["fullchain.pem", "privkey.pem"] as const;
 * const load = () => loadTlsConfig(...files);
 *
 * const state = new TlsState(await load());
 * const reloader = new Reloader(state, load);
 * reloader.watch(files);
 * reloader.addEventListener("swap", ({ detail }) => console.log("now serving", detail.config.leaf.notAfter));
 * await reloader.close(); // when the server is shut down
 * ```
 */
export class Reloader extends ReloaderEventTarget implements AsyncDisposable {
  readonly #state: TlsState;
  readonly #attempts: ReloadAttempts;
  readonly #triggers: Triggers;
  readonly #announcer: Announcer;
  #closed: Promise<void> | undefined;

  /**
   * Makes a reloader. It does nothing until it gets a trigger.
   *
   * @param state The state to keep in sync.
   * @param load Loads the configuration from its source, given the current one and a callback for parts that cannot be
   * loaded: the `previous` and `onError` of `certificatesIn()`. Called for each reload, one call at a time. Its promise
   * must settle, because the next reload and `close()` wait for it, so set a timeout for its requests.
   * @param options The signal, the logger and the limits.
   */
  constructor(state: TlsState, load: Load, options: ReloaderOptions = {}) {
    super();
    requireState("make Reloader", state);
    requireType("Reloader", "load", load, "a function");
    requireOptions("Reloader", options, RELOADER_OPTION_NAMES);
    requireOptionTypes("Reloader", options, { signal: "an AbortSignal" });
    const { pendingLimitMs = DAY_MS, expiryAlarms = {}, signal, logger, expect, expectUnused } = options;
    requireMs("pendingLimitMs", pendingLimitMs);
    if (logger !== undefined) requireLogger(logger);
    if (expect !== undefined) requireExpectation(expect);
    if (expectUnused !== undefined) requireExpectUnused("Reloader", expectUnused);
    this.#state = state;
    this.#announcer = new Announcer(this, logger);
    const onEnd = (result: ReloadResult, isNews: boolean) => {
      this.#triggers.onReload();
      if (isNews) this.#announcer.reload(result);
    };
    const onPartialFailure = (error: unknown) => this.#announcer.partial(error);
    const limits = { pendingLimitMs, expect, expectUnused };
    this.#attempts = new ReloadAttempts(state, load, { ...limits, onEnd, onPartialFailure });
    this.#triggers = new Triggers(this.#attempts, {
      onDegraded: (message) => this.#announcer.degraded(message),
      onDisconnect: (error, retryMs) => this.#announcer.disconnect(error, retryMs),
    });
    const alarms = new ExpiryAlarms(expiryAlarms, (alarm) => {
      // Without the rest of the status, which has as many certificates as there may be alarms.
      const watches = [...this.#attempts.watches].map(({ status }) => status);
      this.#announcer.expiring(alarm, expiryMessage(alarm, watches, this.#attempts.history.lastSwap));
    });
    const drains = sharedBy(state).drainTally.subscribe((progress) => this.#announcer.drain(progress));
    for (const each of [alarms.follow(state), drains]) this.#triggers.add(() => each[Symbol.dispose]());
    const onAbort = () => void this.close();
    signal?.addEventListener("abort", onAbort);
    this.#triggers.add(() => signal?.removeEventListener("abort", onAbort));
    if (signal?.aborted) onAbort();
  }

  /**
   * Loads, compares, proves and swaps. The promise never rejects.
   *
   * One reload runs at a time. All calls during a reload share the next one, which begins after the current one. So a
   * call never gets content that is older than the call.
   *
   * @param options Whether an expired certificate, or one that is not yet valid, is accepted.
   * @returns The outcome.
   */
  reload(options: ReloadOptions = {}): Promise<ReloadResult> {
    requireOptions("Reloader.reload", options, ["force"]);
    requireOptionTypes("Reloader.reload", options, { force: "a boolean" });
    return this.#attempts.run(options.force ?? false);
  }

  /**
   * Reloads when one of these files changes, or a file in one of these folders. Also reads the files once now, because
   * they may have changed since the load.
   *
   * Name all files that `load` reads, by the same paths. They are one set, which is read again until it is stable, at
   * most 6 times. The directories of the files and of all links on the way to them are watched, so renamed files,
   * retargeted links and replaced directories are noticed. If the system reports no events (network and FUSE mounts, no
   * watches left), the poll finds the change, and `status()` and a `degraded` event report the problem if it is known.
   * A missing file does not count as a change; the event reports it if it stays missing. A set that is rejected is
   * retried, with growing pauses. A Kubernetes `subPath` mount never changes: mount the whole volume.
   *
   * A folder is watched with the folders in it, as {@linkcode certificatesIn} reads it: new and removed files are
   * changes. Its files are compared by name, size and times, without reading them.
   *
   * @param paths The files and folders, as paths or URLs.
   * @param options The interval of the poll, and the pause after an event.
   * @returns Stops the watch when disposed of.
   * @throws {TypeError} If there is no path, or an option is not a number of milliseconds.
   */
  watch(paths: readonly (string | URL)[], options: WatchOptions = {}): Disposable {
    return this.#triggers.watch(paths, options);
  }

  /**
   * Reloads when the process receives a signal, usually `SIGHUP`.
   *
   * Works only in the main thread. In workers, watch the files or reload at a message. From now on the signal never
   * ends the process. After the reloader is closed, the signal does nothing, because a renewal may send it during a
   * shutdown.
   *
   * @param signal The signal.
   * @returns Stops the reloads when disposed of.
   * @throws {TlsReloadError} `UNSUPPORTED` in a worker thread, on Windows, or for a signal that cannot be caught.
   */
  onSignal(signal: NodeJS.Signals): Disposable {
    requireType("Reloader.onSignal", "signal", signal, "a string");
    return this.#triggers.onSignal(signal);
  }

  /**
   * Reloads at an interval, for a source that does not report its changes. After a rejection, the next reload begins
   * after 1 second. The pause doubles with each further rejection, up to the interval.
   *
   * @param intervalMs The pause between the end of a reload and the next one, with a jitter of 10 %. `Infinity`
   * disables it.
   * @returns Stops the reloads when disposed of.
   * @throws {TypeError} If the pause is not a number of milliseconds.
   */
  every(intervalMs: number): Disposable {
    return this.#triggers.every(intervalMs);
  }

  /**
   * Reloads at each item of a stream, such as a watch of etcd, a channel of Redis, or a WebSocket: an item means that
   * the source may have changed.
   *
   * Items that arrive during a reload share the next one. Each subscription triggers a reload, because the source may
   * have changed before; a source should yield once when its subscription is established. When the stream ends or
   * fails, it is subscribed to again after 1 second. The pause doubles with each further failure, up to 30 seconds,
   * with a jitter of 20 %. A rejected reload is retried. `close()` aborts the signal and does not wait for the source.
   *
   * @param subscribe Subscribes to the source.
   * @param options A function that makes a configuration of an item, the splay, and the poll beside the stream.
   * @returns Stops the subscription when disposed of.
   * @throws {TypeError} If an option is not a number of milliseconds.
   */
  follow<Item>(subscribe: Subscribe<Item>, options: FollowOptions<Item> = {}): Disposable {
    return this.#triggers.follow(subscribe, options);
  }

  /** The status, read now. */
  status(): ReloaderStatus {
    return statusOf(this.#state, this.#attempts, this.#triggers);
  }

  /**
   * The status in the text format of Prometheus, for a response of type `text/plain; version=0.0.4`. All reloaders have
   * the same series, so give each reloader a path of its own.
   */
  metrics(): string {
    return metricsOf(this.status());
  }

  /** Stops all triggers, and waits for a running reload, without a time limit. The state keeps its configuration. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  /** The same as {@linkcode Reloader.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([this.#triggers.close(), this.#attempts.close()]);
  }
}
