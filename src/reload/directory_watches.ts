import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** Deno and Bun begin and end a watch a moment after the call. */
const ARMING_MS = 20;

/** The runtime's watcher of one path, shared by all listeners. It is open exactly while `identity` is set. */
class DirectoryWatch {
  readonly listeners = new Set<() => void>();
  /** The identity of the directory that is watched. */
  identity: string | undefined;
  /** Why the directory cannot be watched. */
  error: Error | undefined;
  #watcher: FSWatcher | undefined;

  open(directory: string, identity: string): void {
    this.identity = identity;
    this.error = undefined;
    const fail = (error: NodeJS.ErrnoException) => {
      this.close();
      // The next reading of the files notices that the directory is missing.
      if (error.code !== "ENOENT") this.error = error;
    };
    try {
      const notify = () => this.listeners.forEach((listener) => listener());
      this.#watcher = watch(directory, { persistent: false }, notify).on("error", fail);
    } catch (error) {
      fail(error as Error);
    }
  }

  /**
   * Called once the watch is armed. From now on it keeps no process alive. Every listener but the caller, which reads
   * next anyway, has to read what changed before.
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
 * All watches of the process, one for each path. Deno and Bun have only one watcher of a path underneath. It dies when
 * the directory is replaced, and a second watch of the path gets the dead one as long as anything still holds it.
 */
const watches = new Map<string, DirectoryWatch>();
/** The last update of `watches`: updates run one after the other. */
let lastUpdate: Promise<unknown> = Promise.resolve();

/**
 * Calls a listener at each change in these directories, and no longer in any others.
 *
 * @returns Why one of the directories cannot be watched, if that is so.
 */
export async function watchDirectories(
  listener: () => void,
  directories: Iterable<string>,
): Promise<Error | undefined> {
  const identities = new Map<string, string>();
  // Before the queue: a file system that hangs here blocks no other listener.
  for (const directory of directories) {
    const identity = await identityOf(directory);
    if (identity !== undefined) identities.set(directory, identity);
  }
  const update = lastUpdate.then(() => updateWatches(listener, identities));
  lastUpdate = update.catch(() => {});
  return await update;
}

async function updateWatches(
  listener: () => void,
  identities: ReadonlyMap<string, string>,
): Promise<Error | undefined> {
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
  return wanted.find(({ watch }) => watch.error)?.watch.error;
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

/** Device, inode and birth time: a directory created anew may get the inode of the old one. */
async function identityOf(directory: string): Promise<string | undefined> {
  const stats = await stat(directory, { bigint: true }).catch(() => undefined);
  return stats && `${stats.dev} ${stats.ino} ${stats.birthtimeNs}`;
}
