import type { Kernel } from "../kernel/kernel.ts";
import { ConnectionCount, connectionMark, type CountedSockets, type Marked } from "./connection_count.ts";
import type { HandoffGeneration } from "./handoff_generation.ts";
import type { NativeServer } from "./native_server.ts";

/** The longest that a count may keep the event loop from other things at once. */
const SLICE_MS = 2;
/** The share of time that counts may take. */
const COUNT_SHARE = 0.05;

/**
 * Counts the connections of generations by their marks, in slices.
 *
 * Invariant: at most one count is under way. Only generations that got no connections any more when the count began are
 * found empty, because a count may miss connections of the others.
 */
export class GenerationCounter<Server extends NativeServer> {
  readonly #kernel: Kernel;
  #count: ConnectionCount | undefined;
  /** The generations that the count may find empty. */
  #judged: ReadonlySet<HandoffGeneration<Server>> = new Set();
  #countedMs = 0;
  #nextCountAt = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Whether a count is under way. */
  get isCounting(): boolean {
    return this.#count !== undefined;
  }

  /** Whether one of these generations has no connection where there was one before, and it is time for a count. */
  mayFindEmpty(generations: readonly HandoffGeneration<Server>[], sockets: CountedSockets): boolean {
    const isSeen = ({ witnesses, marks }: HandoffGeneration<Server>) =>
      witnesses.some((descriptor) => connectionMark(this.#kernel, descriptor, { ...sockets, marks }) !== undefined);
    return performance.now() >= this.#nextCountAt && !generations.every(isSeen);
  }

  /** Lets another count begin at once. */
  hasten(): void {
    this.#nextCountAt = 0;
  }

  /** Begins a count, while some generations get no connections any more. */
  begin(sockets: CountedSockets, leaving: readonly HandoffGeneration<Server>[]): void {
    this.#countedMs = 0;
    this.#judged = new Set(leaving);
    this.#count = new ConnectionCount(this.#kernel, sockets);
  }

  /** Counts for the time of a slice. At its end, the count is shown to the generations; returns those that are empty. */
  advance(generations: readonly HandoffGeneration<Server>[]): HandoffGeneration<Server>[] {
    const begin = performance.now();
    const count = this.#count!;
    const isComplete = count.advance(SLICE_MS);
    const now = performance.now();
    this.#countedMs += now - begin;
    if (!isComplete) return [];
    this.#count = undefined;
    this.#nextCountAt = now + this.#countedMs / COUNT_SHARE;
    return this.#assign(generations, count.byMark);
  }

  /** Shows each connection for the oldest generation that it may belong to. Returns the generations that have none. */
  #assign(
    generations: readonly HandoffGeneration<Server>[],
    byMark: ReadonlyMap<number, Marked>,
  ): HandoffGeneration<Server>[] {
    const shown = new Set<number>();
    return generations.filter((generation) => {
      const owned = [...byMark].filter(([mark]) => generation.marks.has(mark));
      const own = owned.filter(([mark]) => !shown.has(mark));
      const connections = own.reduce((sum, [, { connections }]) => sum + connections, 0);
      generation.counted(connections, owned.map(([, { witness }]) => witness));
      for (const [mark] of own) shown.add(mark);
      return owned.length === 0 && this.#judged.has(generation);
    });
  }
}
