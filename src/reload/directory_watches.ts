import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** Deno and Bun begin and end to watch a moment after they were asked to. */
const ARMING_MS = 20;

/** What watches a path, for all who want to know. */
class DirectoryWatch {
  readonly listeners = new Set<() => void>();
  /** The identity of the directory that is watched, while one is. */
  id: string | undefined;
  /** Why it cannot be watched. */
  error: Error | undefined;
  #watcher: FSWatcher | undefined;

  open(directory: string, id: string): void {
    this.id = id;
    this.error = undefined;
    const fail = (error: NodeJS.ErrnoException) => {
      this.close();
      // A directory that is gone is missed by reading it.
      if (error.code !== "ENOENT") this.error = error;
    };
    try {
      const notify = () => this.listeners.forEach((listener) => listener());
      this.#watcher = watch(directory, { persistent: false }, notify).on("error", fail);
    } catch (error) {
      fail(error as Error);
    }
  }

  /** Once it is armed, it keeps no process alive, and all but one, who is about to look, look for what was missed. */
  start(looking: () => void): void {
    if (!this.#watcher) return;
    this.#watcher.unref();
    for (const listener of this.listeners) if (listener !== looking) listener();
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.id = undefined;
  }
}

/**
 * All watches of the process, one for each path. Deno and Bun have no more than one below, which dies when the
 * directory is replaced, and which they give to whoever watches the path anew as long as anybody still holds it.
 */
const watches = new Map<string, DirectoryWatch>();
let turn: Promise<unknown> = Promise.resolve();

/**
 * Calls a listener at each change in these directories, and in no others any more.
 *
 * @returns Why one of them cannot be watched, if that is so.
 */
export async function watchDirectories(
  listener: () => void,
  directories: Iterable<string>,
): Promise<Error | undefined> {
  const ids = new Map<string, string>();
  for (const directory of directories) {
    const id = await identityOf(directory);
    if (id !== undefined) ids.set(directory, id);
  }
  // One at a time. A file system that hangs has hung above, and holds nobody else up.
  const following = turn.then(() => follow(listener, ids));
  turn = following.catch(() => {});
  return await following;
}

async function follow(listener: () => void, ids: ReadonlyMap<string, string>): Promise<Error | undefined> {
  for (const directory of ids.keys()) {
    if (!watches.has(directory)) watches.set(directory, new DirectoryWatch());
    watches.get(directory)!.listeners.add(listener);
  }
  let hasClosed = false;
  for (const [directory, watch] of watches) {
    const id = ids.get(directory);
    if (id === undefined) watch.listeners.delete(listener);
    if (watch.listeners.size === 0) watches.delete(directory);
    else if (id === undefined || watch.id === id) continue;
    hasClosed ||= watch.id !== undefined;
    watch.close();
  }
  if (hasClosed) await delay(ARMING_MS);
  const wanted = [...ids].map(([directory, id]) => ({ directory, id, watch: watches.get(directory)! }));
  const unwatched = wanted.filter(({ watch }) => watch.id === undefined);
  for (const { directory, id, watch } of unwatched) watch.open(directory, id);
  if (unwatched.length > 0) await delay(ARMING_MS);
  for (const { watch } of unwatched) watch.start(listener);
  return wanted.find(({ watch }) => watch.error)?.watch.error;
}

/** A directory made anew under the same name is another one, also where it gets the number of the old one. */
async function identityOf(directory: string): Promise<string | undefined> {
  const stats = await stat(directory, { bigint: true }).catch(() => undefined);
  return stats && `${stats.dev} ${stats.ino} ${stats.birthtimeNs}`;
}
