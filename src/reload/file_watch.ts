import { createHash } from "node:crypto";
import { lstat, readlink } from "node:fs/promises";
import { dirname, join, parse, resolve, sep } from "node:path";
import { clearTimeout, setTimeout } from "node:timers";
import type { TlsReloadError } from "../errors.ts";
import { MAX_MS } from "../durations.ts";
import { readPemFile } from "../x509/pem_file.ts";
import { watchDirectories } from "./directory_watches.ts";
import type { WatchStatus } from "./status.ts";

/** As many links as Linux follows on the way to one file. */
const MAX_LINKS = 40;

/**
 * Watches files that are read as one set, and calls for a reload whenever they are not what was last taken.
 *
 * Events only tell when to look; what has changed is decided by the bytes of the files. Whatever the events miss, the
 * poll finds.
 */
export class FileWatch {
  readonly paths: readonly string[];
  readonly #pollIntervalMs: number;
  readonly #settleMs: number;
  readonly #reload: () => Promise<unknown>;
  #seen = "";
  #taken: string | undefined;
  #missing: readonly string[] = [];
  #failures = 0;
  #error: Error | undefined;
  #checkedAt: Date | undefined;
  #checking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Infinity;
  #hasEvent = false;
  #isOpen = true;

  constructor(
    paths: readonly string[],
    options: { readonly pollIntervalMs: number; readonly settleMs: number },
    reload: () => Promise<unknown>,
  ) {
    this.paths = paths.map((path) => resolve(path));
    this.#pollIntervalMs = options.pollIntervalMs;
    this.#settleMs = options.settleMs;
    this.#reload = reload;
    this.#schedule(0);
  }

  /** What there is to know of it, read now. */
  get status(): WatchStatus {
    const { paths } = this;
    return { paths, missing: this.#missing, checkedAt: this.#checkedAt, degraded: this.#error?.message };
  }

  /** A digest of what was last read of them. */
  get seen(): string {
    return this.#seen;
  }

  /** Whether the files, when they were last looked at, were all there, and what was last taken. */
  get isTaken(): boolean {
    return this.#missing.length === 0 && this.#seen === this.#taken;
  }

  /** Reads the set. What cannot be read counts as well: a file that becomes readable is a change. */
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
    const seen = hash.digest("hex");
    if (seen !== this.#seen) this.#failures = 0;
    this.#seen = seen;
    this.#missing = missing;
    this.#checkedAt = new Date();
    return seen;
  }

  /** Takes note of what a reload has been made of, be it a swap or no change; of nothing after one that failed. */
  take(seen: string | undefined): void {
    this.#taken = seen;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    await this.#checking;
    await watchDirectories(this.#onEvent, []);
  }

  /** The earlier of two moments counts. So no stream of events can put the next look off. */
  #schedule(ms: number): void {
    const dueAt = performance.now() + ms;
    if (!this.#isOpen || this.#checking || dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => this.#start(), Math.min(ms, MAX_MS)).unref();
  }

  readonly #onEvent = () => {
    this.#hasEvent = true;
    this.#schedule(this.#settleMs);
  };

  #start(): void {
    this.#hasEvent = false;
    this.#checking = this.#check().catch((error) => void (this.#error = error)).then(() => {
      this.#checking = undefined;
      this.#dueAt = Infinity;
      if (this.isTaken) this.#failures = 0;
      const pauseMs = this.isTaken ? Infinity : this.#settleMs * 2 ** this.#failures++;
      this.#schedule(Math.min(this.#pollIntervalMs, pauseMs, this.#hasEvent ? this.#settleMs : Infinity));
    });
  }

  async #check(): Promise<void> {
    // Watched first and read then, so that a change after the reading makes an event.
    await this.#follow();
    await this.read();
    // A file that is not there is about to be replaced: no change yet.
    if (this.#isOpen && !this.isTaken && this.#missing.length === 0) await this.#reload();
  }

  /** Watches the directories that the files stand in now, and those of every link on the way to them. */
  async #follow(): Promise<void> {
    const directories: string[] = [];
    for (const path of this.paths) directories.push(...await directoriesOf(path));
    this.#error = await watchDirectories(this.#onEvent, directories);
  }
}

/** Where an entry may be replaced on the way to a file: the directory of each link, and that of the file itself. */
async function directoriesOf(path: string): Promise<Set<string>> {
  const directories = new Set<string>();
  let { root: at } = parse(path);
  const names = path.slice(at.length).split(sep);
  for (let links = 0; names.length > 0 && links <= MAX_LINKS;) {
    const name = names.shift()!;
    if (name === "..") at = dirname(at);
    if (["", ".", ".."].includes(name)) continue;
    const entry = join(at, name);
    const stats = await lstat(entry).catch(() => undefined);
    const isLink = stats?.isSymbolicLink() ?? false;
    if (!stats || isLink || names.length === 0) directories.add(at);
    if (!stats) break;
    if (isLink) {
      links++;
      const target = await readlink(entry).catch(() => "");
      names.unshift(...target.split(sep));
      at = parse(target).root || at;
    } else at = entry;
  }
  return directories;
}
