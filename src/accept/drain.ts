import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import { MAX_MS } from "../durations.ts";
import { guarded } from "../warnings.ts";
import type { DrainLimits } from "./drain_options.ts";

/** A connection that can be ended. */
export interface Drainable {
  /** Begins to end it, in the way of its protocol. */
  endGently(): void;
  /** Ends it at once. */
  destroy(): void;
}

/** The longest that a drain may keep the event loop from other things. */
const SLICE_MS = 2;

/**
 * Calls a function with each of many things, in slices with pauses between them.
 *
 * @param things They may change meanwhile.
 * @param call Called with each.
 */
export function inSlices<T>(things: Iterable<T>, call: (thing: T) => void): void {
  const iterator = things[Symbol.iterator]();
  const advance = () => {
    const until = performance.now() + SLICE_MS;
    do {
      const { value, done } = iterator.next();
      if (done) return;
      call(value);
    } while (performance.now() < until);
    setImmediate(advance);
  };
  setImmediate(advance);
}

/**
 * Ends connections, spread over time.
 *
 * Invariant: a connection that has begun to end keeps its moments, whatever swaps follow. A connection that has ended is
 * not kept. Timers do not keep the process running.
 */
export class Drain<T extends Drainable> {
  readonly #batches = new Set<Batch<T>>();

  /** Begins to end connections. Those that are ending already are left to it. */
  begin(connections: Iterable<T>, limits: DrainLimits): void {
    const chosen = [...connections].filter((connection) => !this.#isEnding(connection));
    if (chosen.length > 0) this.#batches.add(new Batch(chosen, limits, (batch) => this.#batches.delete(batch)));
  }

  /** A connection has ended. */
  forget(connection: T): void {
    for (const batch of this.#batches) batch.forget(connection);
  }

  #isEnding(connection: T): boolean {
    for (const batch of this.#batches) if (batch.has(connection)) return true;
    return false;
  }
}

/**
 * Connections that began to end at the same time.
 *
 * Each has a moment, counted from the first: it is ended gently at its moment, and by force as long after that as the
 * first. Both maps are in the order of the moments.
 */
class Batch<T extends Drainable> {
  readonly #left: Map<T, number>;
  readonly #untouched: Map<T, number>;
  readonly #begin = performance.now();
  readonly #patienceMs: number;
  readonly #onEnd: (batch: Batch<T>) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(connections: readonly T[], { gentleMs, forceMs }: DrainLimits, onEnd: (batch: Batch<T>) => void) {
    const slotMs = gentleMs / connections.length;
    this.#left = new Map(connections.map((connection, index) => [connection, (index + Math.random()) * slotMs]));
    this.#untouched = new Map(this.#left);
    this.#patienceMs = forceMs - gentleMs;
    this.#onEnd = onEnd;
    this.#schedule();
  }

  has(connection: T): boolean {
    return this.#left.has(connection);
  }

  forget(connection: T): void {
    this.#untouched.delete(connection);
    if (this.#left.delete(connection) && this.#left.size === 0) this.#end();
  }

  #advance(): void {
    const until = performance.now() + SLICE_MS;
    for (let now = 0; now < until && this.#left.size > 0; now = performance.now()) {
      const [gentle, forced] = this.#next();
      const elapsed = performance.now() - this.#begin;
      if (forced.atMs <= elapsed) this.#destroy(forced.connection);
      else if (gentle && gentle.atMs <= elapsed) this.#endGently(gentle.connection);
      else break;
    }
    if (this.#left.size > 0) this.#schedule();
  }

  #schedule(): void {
    const [gentle, forced] = this.#next();
    const ms = Math.min(gentle?.atMs ?? Infinity, forced.atMs) - (performance.now() - this.#begin);
    // Those that are never ended by force end by themselves.
    if (ms < Infinity) this.#timer = setTimeout(() => this.#advance(), Math.min(Math.max(0, ms), MAX_MS)).unref();
  }

  #next(): [gentle: Due<T> | undefined, forced: Due<T>] {
    const [gentle] = this.#untouched;
    const [[connection, atMs]] = this.#left as Iterable<[T, number]> as [[T, number]];
    return [
      gentle && { connection: gentle[0], atMs: gentle[1] },
      { connection, atMs: atMs + this.#patienceMs },
    ];
  }

  #endGently(connection: T): void {
    this.#untouched.delete(connection);
    guarded(() => connection.endGently());
  }

  #destroy(connection: T): void {
    this.forget(connection);
    guarded(() => connection.destroy());
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#onEnd(this);
  }
}

/** A connection, and when it is to end. */
interface Due<T> {
  readonly connection: T;
  readonly atMs: number;
}
