import type { TlsState } from "../accept/tls_state.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { requireMs } from "../durations.ts";
import { filePath } from "../x509/pem_file.ts";
import { Announcer } from "./announcer.ts";
import { ReloadAttempts } from "./attempts.ts";
import type { ReloaderEventMap, ReloaderListener, ReloaderListenerOptions } from "./events.ts";
import { ExpiryAlarms, type ExpiryLevels } from "./expiry_alarms.ts";
import { expiryMessage } from "./expiry_message.ts";
import { FileWatch } from "./file_watch.ts";
import { IntervalTrigger } from "./interval.ts";
import { metricsOf } from "./metrics.ts";
import type { ReloadOptions, ReloadResult } from "./reload_result.ts";
import { listenToSignal } from "./signals.ts";
import type { ReloaderStatus } from "./status.ts";
import { statusOf } from "./status_of.ts";

const DAY_MS = 86_400_000;

/** The options of a {@linkcode Reloader}. */
export interface ReloaderOptions {
  /** Closes the reloader when aborted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How far ahead the validity of a certificate may begin. Such a certificate is kept, and swapped in when it becomes
   * valid. Beyond the limit it is rejected.
   *
   * @default {86_400_000}
   */
  readonly pendingLimitMs?: number | undefined;
  /** When the `expiring` event is dispatched. By default at 1/5 and 1/10 of a certificate's life, and at its expiry. */
  readonly expiryAlarms?: ExpiryLevels | undefined;
}

/** The options of {@linkcode Reloader.watch}. */
export interface WatchOptions {
  /**
   * How often the files are read, whatever the system reports. `Infinity` relies on its reports.
   *
   * @default {10_000}
   */
  readonly pollIntervalMs?: number | undefined;
  /**
   * The pause between the first report of a change and the reading, so that a change of several files is complete.
   * `Infinity` leaves it to the poll.
   *
   * @default {250}
   */
  readonly settleMs?: number | undefined;
}

/** The typed forms of the methods that every `EventTarget` has. */
export interface Reloader {
  /** Calls a function at each event of a type. */
  addEventListener<Type extends keyof ReloaderEventMap>(
    type: Type,
    listener: (event: ReloaderEventMap[Type]) => unknown,
    options?: boolean | ReloaderListenerOptions,
  ): void;
  /** Calls a function or an object at each event of a type. */
  addEventListener(
    type: string,
    listener: ReloaderListener | null,
    options?: boolean | ReloaderListenerOptions,
  ): void;
  /** Ends the calls. */
  removeEventListener<Type extends keyof ReloaderEventMap>(
    type: Type,
    listener: (event: ReloaderEventMap[Type]) => unknown,
    options?: boolean | ReloaderListenerOptions,
  ): void;
  /** Ends the calls. */
  removeEventListener(
    type: string,
    listener: ReloaderListener | null,
    options?: boolean | ReloaderListenerOptions,
  ): void;
}

/**
 * Keeps a {@linkcode TlsState} in sync with its source.
 *
 * A reload loads a configuration, compares everything that is served (chain, key, client authorities, options), proves
 * by a handshake in memory that the new configuration can serve, and swaps. A failure leaves the state as it is, and is
 * reported once for each change. {@linkcode Reloader.watch} and {@linkcode Reloader.every} retry what failed, with
 * growing pauses; {@linkcode Reloader.onSignal} and {@linkcode Reloader.reload} do not. Triggers can be combined, and
 * none of them keeps a process alive.
 *
 * A certificate that is not valid yet is kept and swapped in when its validity begins, whatever triggered the reload.
 *
 * The reloader is an `EventTarget`: `swap`, `unchanged` and `pending` follow reloads, `reject` tells why one failed, and
 * `expiring` that a certificate in use comes to its end: the server's own, an intermediate, or a client authority. The
 * last two emit a process warning as well, unless a listener calls `preventDefault()`.
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
export class Reloader extends EventTarget implements AsyncDisposable {
  // Every open trigger has its closer in #closers. After close() the set is empty, and new triggers close at once.
  readonly #state: TlsState;
  readonly #attempts: ReloadAttempts;
  readonly #closers = new Set<() => unknown>();
  #closed: Promise<void> | undefined;

  /**
   * Makes a reloader. It does nothing until it gets a trigger.
   *
   * @param state What to keep in sync.
   * @param load Loads the configuration from its source. Called for each reload, never twice at a time. It must settle,
   * so give its requests a timeout: until then nothing else is loaded, and `close()` waits.
   * @param options A signal.
   */
  constructor(state: TlsState, load: () => Promise<TlsConfig>, options: ReloaderOptions = {}) {
    super();
    this.#state = state;
    const { pendingLimitMs = DAY_MS, expiryAlarms = {} } = options;
    requireMs("pendingLimitMs", pendingLimitMs);
    const announcer = new Announcer(this);
    const onEnd = (result: ReloadResult, isNews: boolean) => {
      if (isNews) announcer.reload(result);
    };
    this.#attempts = new ReloadAttempts(state, load, { pendingLimitMs, onEnd });
    const alarms = new ExpiryAlarms(expiryAlarms, (alarm) => {
      const { watches, lastSwap } = this.status();
      announcer.expiring(alarm, expiryMessage(alarm, watches, lastSwap));
    });
    alarms.watch(state.current());
    this.#open(() => alarms.close());
    const subscription = state.subscribe(({ config }) => alarms.watch(config));
    this.#open(() => subscription[Symbol.dispose]());
    const { signal } = options;
    const onAbort = () => void this.close();
    signal?.addEventListener("abort", onAbort);
    this.#open(() => signal?.removeEventListener("abort", onAbort));
    if (signal?.aborted) onAbort();
  }

  /**
   * Loads, compares, proves and swaps. Never rejects.
   *
   * One reload runs at a time. All calls during a reload share the next one. It begins after the current one, and so
   * loads what the source held at the time of the calls, or later.
   *
   * @param options Whether a certificate out of its validity is accepted.
   * @returns The outcome.
   */
  reload(options: ReloadOptions = {}): Promise<ReloadResult> {
    return this.#attempts.run(options.force ?? false);
  }

  /**
   * Reloads when one of these files changes, and once now, for what has changed since it was loaded.
   *
   * Name every file that `load` reads, by the paths that it reads: the files of a certificate are one set, which is
   * read until it holds still, at most 6 times. The directories of the files and of all links on the way to them are
   * watched, so renamed files, retargeted links and replaced directories are noticed. Where the system reports nothing
   * (network and FUSE mounts, no watches left) the poll finds the change; `status()` says so where it is known. A
   * missing file is no change yet. A set that is rejected is retried, with growing pauses. A Kubernetes `subPath` mount
   * never changes, whatever watches it: mount the whole volume.
   *
   * @param paths The files, as paths or URLs.
   * @param options How often to read, and how long to wait after an event.
   * @returns Ends the watch when disposed of.
   * @throws {TypeError} If there is no path, or an option is not a number of milliseconds.
   */
  watch(paths: readonly (string | URL)[], options: WatchOptions = {}): Disposable {
    const { pollIntervalMs = 10_000, settleMs = 250 } = options;
    if (paths.length === 0) throw new TypeError("Cannot watch files: 'paths' must name at least one");
    requireMs("pollIntervalMs", pollIntervalMs);
    requireMs("settleMs", settleMs);
    const watch = new FileWatch(paths.map(filePath), { pollIntervalMs, settleMs }, () => this.reload());
    this.#attempts.watches.add(watch);
    return this.#open(() => {
      this.#attempts.watches.delete(watch);
      return watch.close();
    });
  }

  /**
   * Reloads when the process receives a signal, usually `SIGHUP`.
   *
   * Only in the main thread: in workers, watch the files or reload at a message. From here on the signal never ends
   * the process. After the reloader is closed the signal does nothing, because a renewal may come during a shutdown.
   *
   * @param signal The signal.
   * @returns Ends the reloads when disposed of.
   * @throws {TlsReloadError} `UNSUPPORTED` in a worker thread, on Windows, or for a signal that cannot be caught.
   */
  onSignal(signal: NodeJS.Signals): Disposable {
    const listening = listenToSignal(signal, () => void this.reload());
    return this.#open(() => listening[Symbol.dispose]());
  }

  /**
   * Reloads again and again, for a source that does not report its changes. After a rejection the next reload comes
   * in a second, after each more in a row in twice the time, and never later than the interval.
   *
   * @param intervalMs The pause between the end of a reload and the next one, give or take a tenth. `Infinity` is never.
   * @returns Ends the reloads when disposed of.
   * @throws {TypeError} If the pause is not a number of milliseconds.
   */
  every(intervalMs: number): Disposable {
    requireMs("intervalMs", intervalMs);
    if (intervalMs === Infinity) return this.#open(() => {});
    const failuresInARow = () => this.#attempts.history.failuresInARow;
    const interval = new IntervalTrigger(intervalMs, () => this.reload(), failuresInARow);
    return this.#open(() => interval.close());
  }

  /** The status, read now. */
  status(): ReloaderStatus {
    return statusOf(this.#state, this.#attempts);
  }

  /**
   * The status in the text format of Prometheus, to be answered as `text/plain; version=0.0.4`. All reloaders have the
   * same series, so do not join two of them in one answer: give each a path of its own.
   */
  metrics(): string {
    return metricsOf(this.status());
  }

  /** Ends all triggers, and waits for a reload that is running, however long `load` takes. The state serves on. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  /** The same as {@linkcode Reloader.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #open(closer: () => unknown): Disposable {
    this.#closers.add(closer);
    const dispose = () => {
      if (this.#closers.delete(closer)) closer();
    };
    if (this.#closed) dispose();
    return { [Symbol.dispose]: dispose };
  }

  async #close(): Promise<void> {
    const closing = [...this.#closers].map((closer) => closer());
    this.#closers.clear();
    await Promise.all([this.#attempts.close(), ...closing]);
  }
}
