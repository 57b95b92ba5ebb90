import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import { MAX_MS } from "../durations.ts";
import { guarded } from "../warnings.ts";
import type { DrainLimits } from "./drain_options.ts";
import type { DrainTally, EndOfConnection } from "./drain_tally.ts";

/** A connection that can be ended. */
export interface Drainable {
  /** Begins to end it, in the way of its protocol. */
  endGently(): void;
  /** Ends it at once. */
  destroy(): void;
}

/** The longest that a drain may keep the event loop from other things. */
const SLICE_MS = 2;
/** How late a moment may be, as a share of the time over which the gentle ends are spread. */
const MAX_LATE_SHARE = 1 / 25;

/** Calls a function with each of many things, which may change meanwhile, in slices with pauses between them. */
export function inSlices<T>(things: Iterable<T>, call: (thing: T) => void, onEnd = () => {}): void {
  const iterator = things[Symbol.iterator]();
  const advance = () => {
    const until = performance.now() + SLICE_MS;
    do {
      const { value, done } = iterator.next();
      if (done) return onEnd();
      call(value);
    } while (performance.now() < until);
    setImmediate(advance);
  };
  setImmediate(advance);
}

/**
 * Ends connections, spread over time.
 *
 * Invariant: a connection that has begun to end keeps its moments, unless limits follow that end it earlier by force. A
 * connection that has ended is not kept. Timers do not keep the process running.
 */
export class Drain<T extends Drainable> {
  readonly #batches = new Set<Batch<T>>();
  readonly #tally: DrainTally | undefined;

  constructor(tally?: DrainTally) {
    this.#tally = tally;
  }

  /** Begins to end connections. Those that are ending already, and by force no later, are left to it. */
  begin(connections: Iterable<T>, limits: DrainLimits): void {
    const forcedAt = performance.now() + limits.forceMs;
    const chosen = [...connections].filter((connection) => !this.#isEnding(connection, forcedAt));
    if (chosen.length === 0) return;
    const begun = chosen.filter((connection) => !this.#isEnding(connection));
    for (const batch of this.#batches) for (const connection of chosen) batch.release(connection);
    if (begun.length > 0) this.#tally?.begin(begun.length);
    const onEnd = (batch: Batch<T>) => this.#batches.delete(batch);
    this.#batches.add(new Batch(chosen, limits, { onLeave: (way) => this.#tally?.end(way), onEnd }));
  }

  /** A connection has ended. Returns whether it had begun to end. */
  forget(connection: T, way: EndOfConnection = "gently"): boolean {
    const wasEnding = this.#isEnding(connection);
    for (const batch of this.#batches) batch.remove(connection, way);
    return wasEnding;
  }

  #isEnding(connection: T, forcedBy = Infinity): boolean {
    for (const batch of this.#batches) if (batch.forcedAt <= forcedBy && batch.has(connection)) return true;
    return false;
  }
}

/**
 * Connections that began to end at the same time.
 *
 * Each has a moment, counted from the first: it is ended gently at its moment, and by force as long after that as the
 * first. When the event loop has stood still, the moments that are left are postponed, because what was due meanwhile
 * would end in one burst: by as much as the gentle ends take, in all.
 *
 * Invariant: both maps are in the order of the moments. `#left` has the connections that have not ended, `#untouched`
 * those of them that have not been ended gently either.
 */
class Batch<T extends Drainable> {
  /** When the last of them ends by force, if no moment is postponed. */
  readonly forcedAt: number;
  readonly #left: Map<T, number>;
  readonly #untouched: Map<T, number>;
  #begin = performance.now();
  readonly #patienceMs: number;
  readonly #maxLateMs: number;
  /** By how much the moments may still be postponed. */
  #slackMs: number;
  readonly #context: BatchContext<T>;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(connections: readonly T[], { gentleMs, forceMs }: DrainLimits, context: BatchContext<T>) {
    const slotMs = gentleMs / connections.length;
    this.#left = new Map(connections.map((connection, index) => [connection, (index + Math.random()) * slotMs]));
    this.#untouched = new Map(this.#left);
    this.forcedAt = this.#begin + forceMs;
    this.#patienceMs = forceMs - gentleMs;
    this.#maxLateMs = gentleMs * MAX_LATE_SHARE;
    this.#slackMs = gentleMs;
    this.#context = context;
    this.#schedule();
  }

  has(connection: T): boolean {
    return this.#left.has(connection);
  }

  /** A connection has ended, or is ended now. */
  remove(connection: T, way: EndOfConnection): void {
    if (this.release(connection)) this.#context.onLeave(way);
  }

  /** Leaves a connection to another batch. Returns whether it had it. */
  release(connection: T): boolean {
    this.#untouched.delete(connection);
    const had = this.#left.delete(connection);
    if (had && this.#left.size === 0) this.#end();
    return had;
  }

  #advance(): void {
    this.#postpone();
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

  #postpone(): void {
    const lateMs = performance.now() - this.#begin - this.#nextAtMs - this.#maxLateMs;
    const postponedMs = Math.min(Math.max(0, lateMs), this.#slackMs);
    this.#begin += postponedMs;
    this.#slackMs -= postponedMs;
  }

  #schedule(): void {
    const ms = this.#nextAtMs - (performance.now() - this.#begin);
    // Those that are never ended by force end by themselves.
    if (ms < Infinity) this.#timer = setTimeout(() => this.#advance(), Math.min(Math.max(0, ms), MAX_MS)).unref();
  }

  get #nextAtMs(): number {
    const [gentle, forced] = this.#next();
    return Math.min(gentle?.atMs ?? Infinity, forced.atMs);
  }

  #next(): [gentle: Due<T> | undefined, forced: Due<T>] {
    const [gentle] = this.#untouched;
    const [first] = this.#left;
    const [connection, atMs] = first!;
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
    this.remove(connection, "forced");
    guarded(() => connection.destroy());
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#context.onEnd(this);
  }
}

/** The callbacks of a {@linkcode Batch}. */
interface BatchContext<T extends Drainable> {
  /** Called with each connection that has left, and how it has ended. */
  readonly onLeave: (way: EndOfConnection) => void;
  /** Called when the last one has left. */
  readonly onEnd: (batch: Batch<T>) => void;
}

/** A connection, and when it is to end. */
interface Due<T> {
  readonly connection: T;
  readonly atMs: number;
}
