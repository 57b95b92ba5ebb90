import type { ReloadAttempts } from "./attempts.ts";
import { FileWatch, type FileWatchTimes } from "./file_watch.ts";
import { type FollowOptions, type StreamListener, StreamTrigger, type Subscribe } from "./follow.ts";
import { type IntervalPauses, IntervalTrigger } from "./interval.ts";
import { listenToSignal } from "./signals.ts";
import type { FollowStatus } from "./status.ts";

/**
 * The triggers of a reloader.
 *
 * Invariant: each open trigger has a closer in this object. After `close()` no trigger is open, and new triggers are
 * closed at once.
 */
export class Triggers {
  readonly #attempts: ReloadAttempts;
  readonly #intervals = new Set<IntervalTrigger>();
  readonly #streams = new Set<{ readonly status: FollowStatus }>();
  readonly #closers = new Set<() => unknown>();
  #isClosed = false;

  /** @param attempts Runs the reloads. */
  constructor(attempts: ReloadAttempts) {
    this.#attempts = attempts;
  }

  /** The status of each followed stream. */
  get streams(): readonly FollowStatus[] {
    return [...this.#streams].map(({ status }) => status);
  }

  /** Reloads when a file changes. */
  watch(paths: readonly string[], times: FileWatchTimes): Disposable {
    const { watches } = this.#attempts;
    const watch = new FileWatch(paths, times, () => this.#attempts.run(false));
    watches.add(watch);
    return this.add(() => {
      watches.delete(watch);
      return watch.close();
    });
  }

  /** Reloads when the process receives a signal. */
  onSignal(signal: NodeJS.Signals): Disposable {
    const listening = listenToSignal(signal, () => void this.#attempts.run(false));
    return this.add(() => listening[Symbol.dispose]());
  }

  /** Reloads after pauses. */
  repeat(pauses: IntervalPauses): Disposable {
    const interval = new IntervalTrigger(pauses, () => void this.#attempts.run(false));
    this.#intervals.add(interval);
    interval.start(this.#attempts.history.failuresInARow);
    return this.add(() => {
      this.#intervals.delete(interval);
      interval.close();
    });
  }

  /** Reloads at each item of a stream. */
  follow<Item>(
    subscribe: Subscribe<Item>,
    options: FollowOptions<Item>,
    onDisconnect: StreamListener<Item>["onDisconnect"],
  ): Disposable {
    const { toConfig } = options;
    const onDue: StreamListener<Item>["onDue"] = (latest) => {
      if (toConfig && latest) this.#attempts.replaceLoad(async () => await toConfig(latest.item));
      void this.#attempts.run(false);
    };
    const stream = new StreamTrigger(subscribe, options, { onDue, onDisconnect });
    this.#streams.add(stream);
    return this.add(() => {
      this.#streams.delete(stream);
      stream.close();
      if (toConfig) this.#attempts.replaceLoad(undefined);
    });
  }

  /** Called after each reload, so that intervals count from its end. */
  onReload(): void {
    for (const interval of this.#intervals) interval.start(this.#attempts.history.failuresInARow);
  }

  /** Adds a function that `close()` calls. */
  add(closer: () => unknown): Disposable {
    this.#closers.add(closer);
    const dispose = () => {
      if (this.#closers.delete(closer)) closer();
    };
    if (this.#isClosed) dispose();
    return { [Symbol.dispose]: dispose };
  }

  /** Closes all triggers. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closing = [...this.#closers].map((closer) => closer());
    this.#closers.clear();
    await Promise.all(closing);
  }
}
