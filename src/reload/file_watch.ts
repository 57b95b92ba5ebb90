import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { lstat, readlink, stat } from "node:fs/promises";
import { dirname, join, parse, resolve, sep } from "node:path";
import { clearTimeout, setTimeout } from "node:timers";
import { setTimeout as delay } from "node:timers/promises";
import type { TlsReloadError } from "../errors.ts";
import { readPemFile } from "../pem_file.ts";

/** As many links as Linux follows on the way to one file. */
const MAX_LINKS = 40;
/** Deno begins and ends to watch a moment after it was asked to; in between a new watch would share a dead one. */
const ARMING_MS = 20;

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
  readonly #directories = new Map<string, FSWatcher>();
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

  /** Why a directory cannot be watched, so that changes are found by the poll alone. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** When the files were last looked at. */
  get checkedAt(): Date | undefined {
    return this.#checkedAt;
  }

  /** The files that were not there. */
  get missing(): readonly string[] {
    return this.#missing;
  }

  /** A digest of what was last read of them. */
  get seen(): string {
    return this.#seen;
  }

  /** Whether the files, when they were last looked at, were what was last taken. */
  get isTaken(): boolean {
    return this.#seen === this.#taken;
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

  /** Takes note of what a reload has been made of, be it a swap or no change. */
  take(seen: string): void {
    this.#taken = seen;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    for (const watcher of this.#directories.values()) watcher.close();
    this.#directories.clear();
    await this.#checking;
  }

  /** The earlier of two moments counts. So no stream of events can put the next look off. */
  #schedule(ms: number): void {
    const dueAt = performance.now() + ms;
    if (!this.#isOpen || this.#checking || dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => this.#start(), ms).unref();
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
    const wanted = new Map<string, string>();
    for (const path of this.paths) {
      for (const directory of await directoriesOf(path)) {
        const id = await identityOf(directory);
        if (id !== undefined) wanted.set(id, directory);
      }
    }
    const unwanted = [...this.#directories].filter(([id]) => !wanted.has(id));
    for (const [id, watcher] of unwanted) {
      watcher.close();
      this.#directories.delete(id);
    }
    if (unwanted.length > 0) await arming();
    if (!this.#isOpen) return;
    const unwatched = [...wanted].filter(([id]) => !this.#directories.has(id));
    if (unwatched.length === 0) return;
    this.#error = undefined;
    for (const [id, directory] of unwatched) this.#watch(id, directory);
    await arming();
    for (const watcher of this.#directories.values()) watcher.unref();
  }

  #watch(id: string, directory: string): void {
    const fail = (error: NodeJS.ErrnoException) => {
      this.#directories.get(id)?.close();
      this.#directories.delete(id);
      // A directory that is gone is missed by reading it.
      if (error.code !== "ENOENT") this.#error = error;
    };
    try {
      const watcher = watch(directory, { persistent: false }, this.#onEvent);
      this.#directories.set(id, watcher.on("error", fail));
    } catch (error) {
      fail(error as Error);
    }
  }
}

function arming(): Promise<void> {
  return delay(ARMING_MS, undefined, { ref: false });
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

/** A directory made anew under the same name is another one, also where it gets the number of the old one. */
async function identityOf(directory: string): Promise<string | undefined> {
  const stats = await stat(directory, { bigint: true }).catch(() => undefined);
  return stats && `${stats.dev} ${stats.ino} ${stats.birthtimeNs}`;
}
