import { kindOf, requireOptions, requireOptionTypes, requireType } from "../arguments.ts";
import { requireMs } from "../durations.ts";
import { filePath } from "../x509/pem_file.ts";
import type { ReloadAttempts } from "./attempts.ts";
import { FileWatch } from "./file_watch.ts";
import {
  FOLLOW_OPTION_NAMES,
  type FollowOptions,
  type StreamContext,
  StreamTrigger,
  type Subscribe,
} from "./follow.ts";
import { type IntervalPauses, IntervalTrigger } from "./interval.ts";
import { WATCH_OPTION_NAMES, type WatchOptions } from "./options.ts";
import { listenToSignal } from "./signals.ts";
import type { FollowStatus } from "./status.ts";

/** The longest pause before a rejected reload of a followed source is retried. */
const LAST_RETRY_MS = 30_000;

/** The listeners to the sources of a reloader. */
interface SourceListeners {
  /** Called when a watch notices changes late or never, or a file is missing. */
  readonly onDegraded: (message: string) => void;
  /** Called when a subscription of a followed stream has ended. */
  readonly onDisconnect: StreamContext<unknown>["onDisconnect"];
}

/**
 * The triggers of a reloader.
 *
 * Invariant: each open trigger has a closer in this object. After `close()` no trigger is open, and new triggers are
 * closed at once.
 */
export class Triggers {
  readonly #attempts: ReloadAttempts;
  readonly #listeners: SourceListeners;
  readonly #intervals = new Set<IntervalTrigger>();
  readonly #streams = new Set<{ readonly status: FollowStatus }>();
  readonly #closers = new Set<() => unknown>();
  #isClosed = false;

  constructor(attempts: ReloadAttempts, listeners: SourceListeners) {
    this.#attempts = attempts;
    this.#listeners = listeners;
  }

  /** The status of each followed stream. */
  get streams(): readonly FollowStatus[] {
    return [...this.#streams].map(({ status }) => status);
  }

  /** Implements {@linkcode Reloader.watch}. */
  watch(paths: readonly (string | URL)[], options: WatchOptions): Disposable {
    requireOptions("Reloader.watch", options, WATCH_OPTION_NAMES);
    const { pollIntervalMs = 10_000, settleMs = 250 } = options;
    if (!Array.isArray(paths) || paths.length === 0) {
      throw new TypeError(`Cannot watch files: 'paths' must be a list of at least one path: ${kindOf(paths)}`);
    }
    requireMs("pollIntervalMs", pollIntervalMs);
    requireMs("settleMs", settleMs);
    const { watches } = this.#attempts;
    const { onDegraded } = this.#listeners;
    const reload = () => this.#attempts.run(false);
    const watch = new FileWatch(paths.map(filePath), { pollIntervalMs, settleMs, reload, onDegraded });
    watches.add(watch);
    return this.add(() => {
      watches.delete(watch);
      return watch.close();
    });
  }

  /** Implements {@linkcode Reloader.onSignal}. */
  onSignal(signal: NodeJS.Signals): Disposable {
    const listening = listenToSignal(signal, () => void this.#attempts.run(false));
    return this.add(() => listening[Symbol.dispose]());
  }

  /** Implements {@linkcode Reloader.every}. */
  every(intervalMs: number): Disposable {
    requireMs("intervalMs", intervalMs);
    if (intervalMs === Infinity) return this.add(() => {});
    return this.#repeat({ intervalMs, lastRetryMs: intervalMs });
  }

  /** Implements {@linkcode Reloader.follow}. */
  follow<Item>(subscribe: Subscribe<Item>, options: FollowOptions<Item>): Disposable {
    requireType("Reloader.follow", "subscribe", subscribe, "a function");
    requireOptions("Reloader.follow", options, FOLLOW_OPTION_NAMES);
    requireOptionTypes("Reloader.follow", options, { toConfig: "a function" });
    const { toConfig, splayMs = 0, pollIntervalMs = toConfig ? Infinity : 30_000 } = options;
    if (splayMs !== 0) requireMs("splayMs", splayMs);
    requireMs("pollIntervalMs", pollIntervalMs);
    const polls = this.#repeat({ intervalMs: pollIntervalMs, lastRetryMs: Math.min(pollIntervalMs, LAST_RETRY_MS) });
    const stream = this.#subscribe(subscribe, options);
    return {
      [Symbol.dispose]() {
        polls[Symbol.dispose]();
        stream[Symbol.dispose]();
      },
    };
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

  #repeat(pauses: IntervalPauses): Disposable {
    const interval = new IntervalTrigger(pauses, () => void this.#attempts.run(false));
    this.#intervals.add(interval);
    interval.start(this.#attempts.history.failuresInARow);
    return this.add(() => {
      this.#intervals.delete(interval);
      interval.close();
    });
  }

  #subscribe<Item>(subscribe: Subscribe<Item>, options: FollowOptions<Item>): Disposable {
    const { toConfig } = options;
    const onDue: StreamContext<Item>["onDue"] = (latest) => {
      if (toConfig && latest) this.#attempts.replaceLoad(async () => await toConfig(latest.item));
      void this.#attempts.run(false);
    };
    const stream = new StreamTrigger(subscribe, options, { onDue, onDisconnect: this.#listeners.onDisconnect });
    this.#streams.add(stream);
    return this.add(() => {
      this.#streams.delete(stream);
      stream.close();
      if (toConfig) this.#attempts.replaceLoad(undefined);
    });
  }
}
