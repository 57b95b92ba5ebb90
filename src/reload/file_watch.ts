import { clearTimeout, setTimeout } from "node:timers";
import { Backoff } from "../backoff.ts";
import { EarliestTimer } from "../earliest_timer.ts";
import { missingSpot, silentSpot, unwatchedSpot } from "./blind_spots.ts";
import { watchDirectories } from "./directory_watches.ts";
import { FileSet } from "./file_set.ts";
import { placesIn } from "./folder.ts";
import { directoriesOf } from "./link_path.ts";
import type { WatchStatus } from "./status.ts";

/** An event that arrives within this time after the poll has found the change is not missing, only late. */
const LATE_EVENT_MS = 1_000;
/** A file that is missing at so many checks in a row is not being replaced. */
const MISSING_CHECKS = 3;

/** What a watch gets from its owner. */
interface FileWatchContext {
  /** The interval of the poll. */
  readonly pollIntervalMs: number;
  /** The pause after an event. */
  readonly settleMs: number;
  readonly reload: () => Promise<unknown>;
  /** Called with a problem of the watch, once, and again when the problem changes. */
  readonly onDegraded: (message: string) => void;
}

/**
 * Watches files as one set, and reloads as long as their bytes differ from the bytes that were last loaded. An event
 * only triggers a reading; the bytes decide whether there is a change. The poll finds changes without an event.
 *
 * Invariant: while the watch is open, either a check runs or the timer for the next check is set.
 */
export class FileWatch {
  readonly #files: FileSet;
  readonly #context: FileWatchContext;
  readonly #retries: Backoff;
  #loadedDigest: string | undefined;
  #unwatched: readonly string[] = [];
  #checking: Promise<void> | undefined;
  readonly #timer = new EarliestTimer(() => this.#start());
  #hasEvent = false;
  #isSilent = false;
  #silenceTimer: NodeJS.Timeout | undefined;
  #missingChecks = 0;
  #problem = "";
  #isOpen = true;

  constructor(paths: readonly string[], context: FileWatchContext) {
    this.#files = new FileSet(paths);
    this.#context = context;
    this.#retries = new Backoff({ firstMs: context.settleMs, lastMs: context.pollIntervalMs });
    this.#schedule(0);
  }

  /** The files and folders, as absolute paths. */
  get paths(): readonly string[] {
    return this.#files.paths;
  }

  /** The status, read now. */
  get status(): WatchStatus {
    const { paths, missing, changedAt, readAt, blindSpots } = this.#files;
    const degraded = [...blindSpots, ...this.#unwatched, ...(this.#isSilent ? [silentSpot(paths)] : [])];
    return { paths, missing, changedAt, checkedAt: readAt, degraded: degraded.join(". ") || undefined };
  }

  /** A digest of the files at the last reading. */
  get readDigest(): string {
    return this.#files.digest;
  }

  /** Whether all files existed at the last reading, with the bytes that were last loaded. */
  get isLoaded(): boolean {
    return this.#files.missing.length === 0 && this.#files.digest === this.#loadedDigest;
  }

  /** Reads the files, and returns a digest of them. */
  async read(): Promise<string> {
    const before = this.#files.digest;
    const digest = await this.#files.read();
    if (digest !== before) this.#retries.reset();
    return digest;
  }

  /** Called after a reload, with the digest of the loaded files, or with `undefined` if the reload failed. */
  markLoaded(digest: string | undefined): void {
    this.#loadedDigest = digest;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.#timer.cancel();
    clearTimeout(this.#silenceTimer);
    await this.#checking;
    await watchDirectories(this.#onEvent, []);
  }

  /** Sets the next check, unless one is set earlier: a stream of events cannot postpone it. */
  #schedule(ms: number): void {
    if (this.#isOpen && !this.#checking) this.#timer.schedule(ms);
  }

  readonly #onEvent = () => {
    this.#hasEvent = true;
    this.#isSilent = false;
    clearTimeout(this.#silenceTimer);
    this.#schedule(this.#context.settleMs);
  };

  #start(): void {
    const isByEvent = this.#hasEvent;
    this.#hasEvent = false;
    const fail = (error: Error) => {
      this.#unwatched = [error.message];
    };
    this.#checking = this.#check(isByEvent).catch(fail).then(() => {
      this.#checking = undefined;
      this.#schedule(this.#nextPauseMs());
      if (this.#isOpen) this.#reportProblem();
    });
  }

  /** Reports the problem after a check, if it is another one than before. */
  #reportProblem(): void {
    const { degraded, missing } = this.status;
    this.#missingChecks = missing.length > 0 ? this.#missingChecks + 1 : 0;
    const isMissing = this.#missingChecks >= MISSING_CHECKS;
    const problem = [...(degraded ? [degraded] : []), ...(isMissing ? [missingSpot(missing)] : [])].join(". ");
    if (problem !== "" && problem !== this.#problem) this.#context.onDegraded(problem);
    this.#problem = problem;
  }

  #nextPauseMs(): number {
    const { pollIntervalMs, settleMs } = this.#context;
    if (this.isLoaded) this.#retries.reset();
    const retryMs = this.isLoaded ? Infinity : this.#retries.nextPauseMs();
    return Math.min(pollIntervalMs, retryMs, this.#hasEvent ? settleMs : Infinity);
  }

  async #check(isByEvent: boolean): Promise<void> {
    const before = this.readDigest;
    // Watches before it reads, so that a change after the reading causes an event.
    const isWatched = await this.#watchDirectories();
    await this.read();
    if (isWatched && !isByEvent && before !== "" && before !== this.readDigest) this.#suspectSilence();
    // A missing file is about to be replaced, so there is nothing to load yet.
    if (this.#isOpen && !this.isLoaded && this.#files.missing.length === 0) await this.#context.reload();
  }

  /**
   * Watches the directories that the files are in now, and those of every link on the way to them.
   *
   * @returns Whether all of them had been watched before.
   */
  async #watchDirectories(): Promise<boolean> {
    const directories: string[] = [];
    for (const path of this.paths) directories.push(...await directoriesOf(path), ...await watchedIn(path));
    const { failures, hasOpened } = await watchDirectories(this.#onEvent, directories);
    const wereWatched = !hasOpened && this.#unwatched.length === 0;
    this.#unwatched = failures.map(unwatchedSpot);
    return wereWatched && failures.length === 0;
  }

  /** Called when the poll has found a change without an event. Waits for a late event before it reports silence. */
  #suspectSilence(): void {
    if (this.#hasEvent || !this.#isOpen) return;
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#isSilent = true, LATE_EVENT_MS).unref();
  }
}

/** The directories in which an entry of a folder may be replaced; none if the path is not that of a folder. */
async function watchedIn(path: string): Promise<string[]> {
  const places = await placesIn(path).catch(() => undefined);
  if (!places) return [];
  const ofLinks = await Promise.all(places.links.map(directoriesOf));
  return [...places.folders, ...ofLinks.flatMap((directories) => [...directories])];
}
