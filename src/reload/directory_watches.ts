import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { isMissing } from "../file_errors.ts";
import type { WatchFailure } from "./blind_spots.ts";

/** Deno and Bun open and close a watch some milliseconds after the call. */
const ARMING_MS = 20;

/**
 * The watcher of one path, which all listeners share.
 *
 * Invariant: the watcher of the runtime is open exactly while `identity` is set.
 */
class DirectoryWatch {
  readonly listeners = new Set<() => void>();
  /** The identity of the watched directory. */
  identity: string | undefined;
  /** Why the directory cannot be watched. */
  error: Error | undefined;
  #watcher: FSWatcher | undefined;

  open(directory: string, identity: string): void {
    this.identity = identity;
    this.error = undefined;
    const fail = (error: NodeJS.ErrnoException) => {
      this.close();
      if (!isMissing(error)) this.error = error;
    };
    try {
      const notify = () => this.listeners.forEach((listener) => listener());
      this.#watcher = watch(directory, { persistent: false }, notify).on("error", fail);
    } catch (error) {
      fail(error as Error);
    }
  }

  /**
   * Called once the watch reports changes. From now on it does not keep the process alive. Notifies all listeners
   * except the caller, because a change before now caused no event. The caller reads the files next in any case.
   */
  announce(caller: () => void): void {
    if (!this.#watcher) return;
    this.#watcher.unref();
    for (const listener of this.listeners) if (listener !== caller) listener();
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.identity = undefined;
  }
}

/**
 * All watches of the process, one for each path. Deno and Bun share one native watcher of a path. The native watcher
 * stops when the directory is replaced, and a second watch of the path gets the stopped one as long as the first is
 * open.
 */
const watches = new Map<string, DirectoryWatch>();
/** The last update of `watches`. Updates run one after another. */
let lastUpdate: Promise<unknown> = Promise.resolve();

/** The outcome of {@linkcode watchDirectories}. */
interface WatchedDirectories {
  /** The directories that cannot be watched. */
  readonly failures: readonly WatchFailure[];
  /** Whether a watch was opened now. A change before it was open caused no event. */
  readonly hasOpened: boolean;
}

/** Calls a listener at each change in these directories, and stops calling it for all others. */
export async function watchDirectories(
  listener: () => void,
  directories: Iterable<string>,
): Promise<WatchedDirectories> {
  const failures: WatchFailure[] = [];
  const identities = new Map<string, string>();
  // Comes before the queue, so that a file system that hangs does not block other listeners.
  for (const directory of new Set(directories)) {
    try {
      identities.set(directory, await identityOf(directory));
    } catch (error) {
      // The next reading of the files notices that a directory is missing.
      if (!isMissing(error)) failures.push({ directory, error: error as Error });
    }
  }
  const update = lastUpdate.then(() => updateWatches(listener, identities));
  lastUpdate = update.catch(() => {});
  const updated = await update;
  return { failures: [...failures, ...updated.failures], hasOpened: updated.hasOpened };
}

async function updateWatches(
  listener: () => void,
  identities: ReadonlyMap<string, string>,
): Promise<WatchedDirectories> {
  for (const directory of identities.keys()) {
    if (!watches.has(directory)) watches.set(directory, new DirectoryWatch());
    watches.get(directory)!.listeners.add(listener);
  }
  const hasClosed = closeOutdated(listener, identities);
  if (hasClosed) await delay(ARMING_MS);
  const wanted = [...identities].map(([directory, identity]) => {
    return { directory, identity, watch: watches.get(directory)! };
  });
  const unopened = wanted.filter(({ watch }) => watch.identity === undefined);
  for (const { directory, identity, watch } of unopened) watch.open(directory, identity);
  if (unopened.length > 0) await delay(ARMING_MS);
  for (const { watch } of unopened) watch.announce(listener);
  const failures = wanted.flatMap(({ directory, watch: { error } }) => error ? [{ directory, error }] : []);
  return { failures, hasOpened: unopened.length > 0 };
}

/** Closes the watches that nothing listens to, and those of directories that have been replaced. */
function closeOutdated(listener: () => void, identities: ReadonlyMap<string, string>): boolean {
  let hasClosed = false;
  for (const [directory, watch] of watches) {
    const identity = identities.get(directory);
    if (identity === undefined) watch.listeners.delete(listener);
    if (watch.listeners.size === 0) watches.delete(directory);
    else if (identity === undefined || watch.identity === identity) continue;
    if (watch.identity !== undefined) hasClosed = true;
    watch.close();
  }
  return hasClosed;
}

/** Device, inode and birth time, because a new directory may get the inode of the old one. */
async function identityOf(directory: string): Promise<string> {
  const { dev, ino, birthtimeNs } = await stat(directory, { bigint: true });
  return `${dev} ${ino} ${birthtimeNs}`;
}
