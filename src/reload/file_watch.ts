import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { clearTimeout, setTimeout } from "node:timers";
import { Backoff } from "../backoff.ts";
import { MAX_MS } from "../durations.ts";
import type { TlsReloadError } from "../errors.ts";
import { readPemFile } from "../x509/pem_file.ts";
import { watchDirectories } from "./directory_watches.ts";
import { directoriesOf } from "./link_path.ts";
import type { WatchStatus } from "./status.ts";

/** How often and how soon files are read. */
export interface FileWatchTimes {
  readonly pollIntervalMs: number;
  readonly settleMs: number;
}

/**
 * Watches files that are read as one set, and reloads while their bytes differ from those last loaded.
 *
 * Events only tell when to read; the bytes decide whether something has changed. The poll finds what the events miss.
 * While the watch is open, either a check runs or a timer for the next one is set.
 */
export class FileWatch {
  readonly paths: readonly string[];
  readonly #times: FileWatchTimes;
  readonly #reload: () => Promise<unknown>;
  readonly #retries: Backoff;
  #readDigest = "";
  #loadedDigest: string | undefined;
  #missing: readonly string[] = [];
  #error: Error | undefined;
  #checkedAt: Date | undefined;
  #checking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Infinity;
  #hasEvent = false;
  #isOpen = true;

  constructor(paths: readonly string[], times: FileWatchTimes, reload: () => Promise<unknown>) {
    this.paths = paths.map((path) => resolve(path));
    this.#times = times;
    this.#reload = reload;
    this.#retries = new Backoff({ firstMs: times.settleMs, lastMs: times.pollIntervalMs });
    this.#schedule(0);
  }

  /** The status, read now. */
  get status(): WatchStatus {
    const { paths } = this;
    return { paths, missing: this.#missing, checkedAt: this.#checkedAt, degraded: this.#error?.message };
  }

  /** A digest of the files as they were last read. */
  get readDigest(): string {
    return this.#readDigest;
  }

  /** Whether all files existed when they were last read, with the bytes that were last loaded. */
  get isLoaded(): boolean {
    return this.#missing.length === 0 && this.#readDigest === this.#loadedDigest;
  }

  /** Reads the files. An error counts as content: a file that becomes readable is a change. */
  async read(): Promise<string> {
    const hash = createHash("sha256");
    const missing: string[] = [];
    for (const path of this.paths) {
      try {
        const { bytes } = await readPemFile(path);
        hash.update(`${bytes.length} `).update(bytes);
      } catch (error) {
        const { code, message } = error as TlsReloadError;
        if (code === "FILE_NOT_FOUND") missing.push(path);
        hash.update(`${message} `);
      }
    }
    const digest = hash.digest("hex");
    if (digest !== this.#readDigest) this.#retries.reset();
    this.#readDigest = digest;
    this.#missing = missing;
    this.#checkedAt = new Date();
    return digest;
  }

  /** Called after a reload: with the digest of what it loaded, or with `undefined` if it failed. */
  markLoaded(digest: string | undefined): void {
    this.#loadedDigest = digest;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    await this.#checking;
    await watchDirectories(this.#onEvent, []);
  }

  /** Moves the next check forward, never back: a stream of events cannot postpone it. */
  #schedule(ms: number): void {
    const dueAt = performance.now() + ms;
    if (!this.#isOpen || this.#checking || dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => this.#start(), Math.min(ms, MAX_MS)).unref();
  }

  readonly #onEvent = () => {
    this.#hasEvent = true;
    this.#schedule(this.#times.settleMs);
  };

  #start(): void {
    this.#hasEvent = false;
    const fail = (error: Error) => {
      this.#error = error;
    };
    this.#checking = this.#check().catch(fail).then(() => {
      this.#checking = undefined;
      this.#dueAt = Infinity;
      this.#schedule(this.#nextPauseMs());
    });
  }

  #nextPauseMs(): number {
    const { pollIntervalMs, settleMs } = this.#times;
    if (this.isLoaded) this.#retries.reset();
    const retryMs = this.isLoaded ? Infinity : this.#retries.nextPauseMs();
    return Math.min(pollIntervalMs, retryMs, this.#hasEvent ? settleMs : Infinity);
  }

  async #check(): Promise<void> {
    // Watched first and read then, so that a change after the reading causes an event.
    await this.#watchDirectories();
    await this.read();
    // A missing file is about to be replaced, so there is nothing to load yet.
    if (this.#isOpen && !this.isLoaded && this.#missing.length === 0) await this.#reload();
  }

  /** Watches the directories that the files are in now, and those of every link on the way to them. */
  async #watchDirectories(): Promise<void> {
    const directories: string[] = [];
    for (const path of this.paths) directories.push(...await directoriesOf(path));
    this.#error = await watchDirectories(this.#onEvent, directories);
  }
}
