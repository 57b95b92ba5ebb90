import { EventEmitter } from "node:events";
import { constants, platform } from "node:os";
import process from "node:process";
import { clearTimeout, setTimeout } from "node:timers";
import { setTimeout as delay } from "node:timers/promises";
import { isMainThread } from "node:worker_threads";
import type { Certificate } from "../x509/certificate.ts";
import { TlsReloadError } from "../errors.ts";
import { MAX_MS, requireMs } from "../durations.ts";
import { filePath } from "../x509/pem_file.ts";
import { proveTlsConfig } from "../config/proof.ts";
import { digestOf } from "../config/digests.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { TlsState } from "../accept/tls_state.ts";
import { unsupported } from "../unsupported.ts";
import { messageOf, warn } from "../warnings.ts";
import { ExpiryAlarm } from "./expiry_alarm.ts";
import { FileWatch } from "./file_watch.ts";
import { metricsOf, type ReloaderStatus, type ReloadFailure } from "./status.ts";

/** What {@linkcode Reloader} takes. */
export interface ReloaderOptions {
  /** Closes the reloader. */
  readonly signal?: AbortSignal | undefined;
}

/** What {@linkcode Reloader.reload} takes. */
export interface ReloadOptions {
  /**
   * Takes a certificate that has expired or is not yet valid also in place of one that is valid.
   *
   * @default {false}
   */
  readonly force?: boolean | undefined;
}

/** What {@linkcode Reloader.watch} takes. */
export interface WatchOptions {
  /**
   * How often the files are looked at, whatever the system reports. `Infinity` relies on its reports.
   *
   * @default {10_000}
   */
  readonly pollIntervalMs?: number | undefined;
  /**
   * How long the files are left alone after the first sign of a change, so that a change of several is seen whole.
   * `Infinity` leaves it to the poll.
   *
   * @default {250}
   */
  readonly settleMs?: number | undefined;
}

/** What a reload came to. */
export type ReloadResult =
  | {
    /** The new configuration is served from now on. */
    readonly outcome: "swapped";
    /** The new configuration. */
    readonly config: TlsConfig;
    /** The one before, to be swapped back in if need be. */
    readonly previous: TlsConfig;
  }
  | {
    /** The source holds what is served already. */
    readonly outcome: "unchanged";
    /** The configuration that is current. */
    readonly config: TlsConfig;
  }
  | {
    /** What the source holds cannot be served, or could not be loaded: what was served before still is. */
    readonly outcome: "rejected";
    /** What `load` threw, or a {@linkcode TlsReloadError}. */
    readonly error: unknown;
  };

/** What the listeners of a {@linkcode Reloader} are told. */
export interface ReloaderEventMap {
  /** A new configuration is served. */
  readonly swap: CustomEvent<Extract<ReloadResult, { outcome: "swapped" }>>;
  /** A reload found nothing new. */
  readonly unchanged: CustomEvent<Extract<ReloadResult, { outcome: "unchanged" }>>;
  /** A reload was rejected; once for each change of the source and of the error. */
  readonly reject: CustomEvent<Extract<ReloadResult, { outcome: "rejected" }>>;
  /** The certificate in use has a third of its life left, or a tenth. */
  readonly expiring: CustomEvent<Certificate>;
}

/** The typed forms of what every `EventTarget` has. */
export interface Reloader {
  /** Calls a function at each event of a type. */
  addEventListener<Type extends keyof ReloaderEventMap>(
    type: Type,
    listener: (event: ReloaderEventMap[Type]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Calls a function or an object at each event of a type. */
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Calls it no more. */
  removeEventListener<Type extends keyof ReloaderEventMap>(
    type: Type,
    listener: (event: ReloaderEventMap[Type]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  /** Calls it no more. */
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

const signals = new EventEmitter().setMaxListeners(0);
/** Tells all reloaders of a signal, and stays with it for ever, in place of its default action. */
const relay = (signal: NodeJS.Signals) => void signals.emit(signal);
/** How often a source that changes while it is read is read again. */
const MAX_READS_AGAIN = 5;
const FIRST_PAUSE_MS = 10;
/** How soon a timer reloads again after the first of several rejections in a row. */
const FIRST_RETRY_MS = 1_000;
/** How far a timer strays, so that the processes of a fleet do not all ask at once. */
const JITTER = 0.1;

/**
 * Keeps a state at what its source holds.
 *
 * A reload loads, compares everything that is served (chain, key, client authorities, options), proves by a handshake
 * in memory that the new configuration can serve, and swaps. Whatever fails leaves the state as it is, and is told
 * once for each change. What triggers it is up to you: {@linkcode Reloader.watch} and {@linkcode Reloader.every}, which
 * try again what failed, with growing pauses; {@linkcode Reloader.onSignal} and {@linkcode Reloader.reload} itself,
 * which do not. Several at once do no harm, and none of them keeps a process alive.
 *
 * It is an `EventTarget`: `swap` and `unchanged` follow reloads, `reject` tells why one failed, and `expiring` that
 * the certificate in use has a third of its life left, then a tenth. The last two are emitted as a process warning as
 * well, unless a listener calls `preventDefault()`.
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
  readonly #state: TlsState;
  readonly #load: () => Promise<TlsConfig>;
  readonly #watches = new Set<FileWatch>();
  /** What ends each of them. */
  readonly #triggers = new Set<() => unknown>();
  readonly #reloads = { swapped: 0, unchanged: 0, rejected: 0 };
  #running: Promise<ReloadResult> | undefined;
  #queued: Promise<ReloadResult> | undefined;
  #isQueuedForced = false;
  #loadedDigest: string | undefined;
  #told: string | undefined;
  #lastAttempt: Date | undefined;
  #lastSuccess: Date | undefined;
  #lastError: ReloadFailure | undefined;
  #failuresInARow = 0;
  #closed: Promise<void> | undefined;

  /**
   * Makes a reloader. It does nothing until it is told when.
   *
   * @param state What to keep current.
   * @param load Loads the configuration from wherever it comes; called for each reload, never twice at a time. Must
   * settle, so give its requests a timeout: while it does not, nothing else is loaded, and `close()` waits.
   * @param options A signal.
   */
  constructor(state: TlsState, load: () => Promise<TlsConfig>, options: ReloaderOptions = {}) {
    super();
    this.#state = state;
    this.#load = load;
    const alarm = new ExpiryAlarm((certificate) => this.#warnOfExpiry(certificate));
    alarm.set(state.current().leaf);
    this.#trigger(() => alarm.close());
    const subscription = state.subscribe(({ config }) => alarm.set(config.leaf));
    this.#trigger(() => subscription[Symbol.dispose]());
    const { signal } = options;
    const onAbort = () => void this.close();
    signal?.addEventListener("abort", onAbort);
    this.#trigger(() => signal?.removeEventListener("abort", onAbort));
    if (signal?.aborted) onAbort();
  }

  /**
   * Loads, compares, proves and swaps. Never rejects.
   *
   * One runs at a time. Whoever asks while one is running gets the outcome of the next, which begins after it and so
   * sees whatever the source held when it was asked for; all who ask until then share that one.
   *
   * @param options Whether a certificate out of its validity is taken.
   * @returns What it came to.
   */
  reload(options: ReloadOptions = {}): Promise<ReloadResult> {
    const { force = false } = options;
    if (!this.#running) {
      return this.#running = this.#attempt(force).then((result) => {
        this.#running = undefined;
        this.#tell(result);
        return result;
      });
    }
    this.#isQueuedForced ||= force;
    return this.#queued ??= this.#running.then(() => {
      const force = this.#isQueuedForced;
      this.#queued = undefined;
      this.#isQueuedForced = false;
      return this.reload({ force });
    });
  }

  /**
   * Reloads when one of these files changes, and once now, for what has changed since it was loaded.
   *
   * Name every file that `load` reads, as the paths that it reads: the files of a certificate are taken as one set,
   * which is read until it holds still, at most 6 times. The directories of the files and of all links on the way to
   * them are watched, so renames, links that are turned and directories that are replaced are seen. Where the system
   * reports nothing (network and FUSE mounts, no watches left) the poll finds the change; `status()` says so where it
   * is known. A file that is missing is no change yet; a set that is rejected is tried again, with growing pauses. A
   * Kubernetes `subPath` mount never changes, whoever watches it: mount the whole volume.
   *
   * @param paths The files, as paths or URLs.
   * @param options How often to look, and how long to wait after an event.
   * @returns Ends the watch when disposed of.
   * @throws {TypeError} If there is no path, or an option is no number of milliseconds.
   */
  watch(paths: readonly (string | URL)[], options: WatchOptions = {}): Disposable {
    const { pollIntervalMs = 10_000, settleMs = 250 } = options;
    if (paths.length === 0) throw new TypeError("Cannot watch files: 'paths' must name at least one");
    requireMs("pollIntervalMs", pollIntervalMs);
    requireMs("settleMs", settleMs);
    const watch = new FileWatch(paths.map(filePath), { pollIntervalMs, settleMs }, () => this.reload());
    this.#watches.add(watch);
    return this.#trigger(() => {
      this.#watches.delete(watch);
      return watch.close();
    });
  }

  /**
   * Reloads when the process gets a signal, by custom `SIGHUP`.
   *
   * Only in the main thread: in workers, watch the files or reload at a message. From here on the signal never ends
   * the process, also not after the reloader is closed, when it does nothing: a renewal may come in during a shutdown.
   *
   * @param signal The signal.
   * @returns Ends the reloads when disposed of.
   * @throws {TlsReloadError} `UNSUPPORTED` in a worker thread, on Windows, or for a signal that cannot be caught.
   */
  onSignal(signal: NodeJS.Signals): Disposable {
    const onSignal = () => void this.reload();
    relaySignal(signal);
    signals.on(signal, onSignal);
    return this.#trigger(() => signals.off(signal, onSignal));
  }

  /**
   * Reloads again and again: for a source that tells nobody when it changes. After a rejection the next reload comes
   * in a second, after each more in a row in twice the time, and never later than it would have come anyway.
   *
   * @param intervalMs The pause between the end of a reload and the next one, give or take a tenth. `Infinity` is never.
   * @returns Ends the reloads when disposed of.
   * @throws {TypeError} If the pause is no number of milliseconds.
   */
  every(intervalMs: number): Disposable {
    requireMs("intervalMs", intervalMs);
    let timer: NodeJS.Timeout;
    const end = () => clearTimeout(timer);
    const trigger = this.#trigger(end);
    const start = () => {
      const failures = this.#failuresInARow;
      const pauseMs = Math.min(intervalMs, failures > 0 ? FIRST_RETRY_MS * 2 ** (failures - 1) : Infinity);
      const ms = Math.min(pauseMs * (1 + JITTER * (2 * Math.random() - 1)), MAX_MS);
      if (this.#triggers.has(end)) timer = setTimeout(() => void this.reload().then(start), ms).unref();
    };
    if (intervalMs < Infinity) start();
    return trigger;
  }

  /** What there is to know, read now. */
  status(): ReloaderStatus {
    const { leaf } = this.#state.current();
    const { notBefore, notAfter } = leaf;
    const watches = [...this.#watches];
    const hasLooked = this.#lastAttempt || watches.some(({ status }) => status.checkedAt);
    const isSame = this.#loadedDigest === digestOf(this.#state.current());
    const isInSync = isSame && this.#failuresInARow === 0 && watches.every(({ isTaken }) => isTaken);
    return {
      generation: this.#state.generation,
      fingerprint256: leaf.fingerprint256,
      names: [...leaf.dnsNames, ...leaf.ipAddresses],
      notBefore,
      notAfter,
      secondsLeft: Math.floor((notAfter.getTime() - Date.now()) / 1000),
      lastAttempt: this.#lastAttempt,
      lastSuccess: this.#lastSuccess,
      lastError: this.#lastError,
      failuresInARow: this.#failuresInARow,
      reloads: { ...this.#reloads },
      inSync: hasLooked ? isInSync : undefined,
      watches: watches.map(({ status }) => status),
    };
  }

  /**
   * The status in the text format of Prometheus, to be answered as `text/plain; version=0.0.4`. All reloaders have the
   * same series, so those of two must not be joined in one answer: give each a path of its own.
   */
  metrics(): string {
    return metricsOf(this.status());
  }

  /** Ends all triggers, and waits for a reload that is under way, however long `load` takes. The state serves on. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  /** The same as {@linkcode Reloader.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #trigger(end: () => unknown): Disposable {
    this.#triggers.add(end);
    const trigger = { [Symbol.dispose]: () => void (this.#triggers.delete(end) && end()) };
    if (this.#closed) trigger[Symbol.dispose]();
    return trigger;
  }

  async #close(): Promise<void> {
    const ending = [...this.#triggers].map((end) => end());
    this.#triggers.clear();
    await Promise.all([this.#running, this.#queued, ...ending]);
  }

  async #attempt(force: boolean): Promise<ReloadResult> {
    this.#lastAttempt = new Date();
    try {
      const { config, seen } = await this.#loadWhole();
      const result = await this.#swap(config, force);
      for (const [watch, digest] of seen) watch.take(digest);
      this.#lastSuccess = new Date();
      this.#failuresInARow = 0;
      return result;
    } catch (error) {
      // Tried again, also where the files are what they were at the last success.
      for (const watch of this.#watches) watch.take(undefined);
      this.#lastError = { at: new Date(), code: codeOf(error), message: messageOf(error) };
      this.#failuresInARow++;
      return { outcome: "rejected", error };
    }
  }

  /** Loads between two readings of the watched files that agree: so all of it is of one version. */
  async #loadWhole(): Promise<{ config: TlsConfig; seen: ReadonlyMap<FileWatch, string> }> {
    const watches = [...this.#watches];
    const read = () => Promise.all(watches.map((watch) => watch.read()));
    for (let again = 0; again <= MAX_READS_AGAIN; again++) {
      if (again > 0) await delay(FIRST_PAUSE_MS * 2 ** (again - 1));
      const before = await read();
      const loading = (async () => await this.#load())();
      await loading.catch(() => {});
      const after = await read();
      if (before.join() !== after.join()) continue;
      return { config: await loading, seen: new Map(watches.map((watch, index) => [watch, after[index]!])) };
    }
    const paths = watches.flatMap(({ paths }) => paths).map((path) => `"${path}"`);
    throw new TlsReloadError("FILES_UNSTABLE", `Cannot read files: they go on changing: ${paths.join(", ")}`);
  }

  async #swap(config: TlsConfig, force: boolean): Promise<ReloadResult> {
    const digest = this.#loadedDigest = digestOf(config);
    const current = this.#state.current();
    if (digest === digestOf(current)) return { outcome: "unchanged", config: current };
    await proveTlsConfig(config);
    if (!force) requireNoWorse(config.leaf, this.#state.current().leaf);
    return { outcome: "swapped", config, previous: this.#state.swap(config) };
  }

  #tell(result: ReloadResult): void {
    this.#reloads[result.outcome]++;
    if (result.outcome !== "rejected") {
      this.#told = undefined;
      this.dispatchEvent(new CustomEvent(result.outcome === "swapped" ? "swap" : "unchanged", { detail: result }));
      return;
    }
    const { code, message } = this.#lastError!;
    const change = [code, message, ...[...this.#watches].map(({ seen }) => seen)].join();
    if (change === this.#told) return;
    this.#told = change;
    this.#report("reject", result, result.error);
  }

  #warnOfExpiry(certificate: Certificate): void {
    const names = [...certificate.dnsNames, ...certificate.ipAddresses].join(", ");
    const end = certificate.notAfter.toISOString();
    this.#report("expiring", certificate, `The certificate for ${names} has not been renewed and expires: ${end}`);
  }

  /** Nothing that matters is lost because nobody listens. */
  #report(type: keyof ReloaderEventMap, detail: unknown, warning: unknown): void {
    if (this.dispatchEvent(new CustomEvent(type, { detail, cancelable: true }))) warn(warning);
  }
}

function requireNoWorse(next: Certificate, current: Certificate): void {
  const now = new Date();
  if (next.isValidAt(now) || !current.isValidAt(now)) return;
  const { notBefore, notAfter } = next;
  const [code, reason] = notAfter < now
    ? ["CERTIFICATE_EXPIRED", `it has expired: ${notAfter.toISOString()}`] as const
    : ["CERTIFICATE_NOT_YET_VALID", `it is not yet valid: ${notBefore.toISOString()}`] as const;
  throw new TlsReloadError(code, `Cannot replace a valid certificate by another: ${reason}`);
}

function relaySignal(signal: NodeJS.Signals): void {
  const refuse = (reason: string, cause?: unknown) => unsupported(`reload on ${signal}`, reason, cause);
  if (!isMainThread) throw refuse("signals reach the main thread alone; watch the files in workers");
  if (platform() === "win32") throw refuse("Windows has no signals; watch the files");
  if (!(signal in constants.signals)) throw refuse("the system has no such signal");
  if (signal === "SIGKILL" || signal === "SIGSTOP") throw refuse("no process can catch it");
  if (process.listeners(signal).includes(relay)) return;
  try {
    process.on(signal, relay);
  } catch (cause) {
    // Some runtime has added it all the same.
    process.removeListener(signal, relay);
    throw refuse("the system does not let it be caught", cause);
  }
}

function codeOf(error: unknown): string | undefined {
  try {
    const { code } = Object(error);
    return typeof code === "string" ? code : undefined;
  } catch {
    return undefined;
  }
}
