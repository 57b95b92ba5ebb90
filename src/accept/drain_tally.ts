import { guarded } from "../warnings.ts";

/** The connections that drains have ended since the state was made. */
export interface DrainStatus {
  /** How many connections are being ended now; with a handoff, as of the last count of its connections. */
  readonly ending: number;
  /** How many have ended by themselves or gently, after a drain had begun to end them. */
  readonly gently: number;
  /** How many were ended by force. */
  readonly forced: number;
  /** How many were disconnected at a swap, because their client may not enter any more. */
  readonly untrusted: number;
}

/** A drain that has started or ended. */
export interface DrainProgress {
  /** Untrusted clients are disconnected at once, so that their drain only ends. */
  readonly phase: "started" | "ended";
  /** How many connections it ends, or has ended. */
  readonly connections: number;
  /** How many of them were ended by force. */
  readonly forced: number;
  /** How many of them were disconnected, because their client may not enter any more. */
  readonly untrusted: number;
}

/** How a connection has ended. */
export type EndOfConnection = "gently" | "forced" | "untrusted";
type Counts = Record<EndOfConnection, number>;

/**
 * Counts the connections that the drains of a state end, in all of its servers.
 *
 * Invariant: a drain starts when a connection begins to end while no other one is ending, and ends with the last one.
 * Connections that begin to end in between belong to it.
 */
export class DrainTally {
  readonly #listeners = new Set<(progress: DrainProgress) => void>();
  readonly #total: Counts = { gently: 0, forced: 0, untrusted: 0 };
  #ending = 0;
  /** The connections that the current drain has ended. */
  #ended: Counts = { ...this.#total };

  /** The counts, read now. */
  get status(): DrainStatus {
    return { ending: this.#ending, ...this.#total };
  }

  /** Calls a function when a drain starts or ends, in a microtask: a listener may ask for counts, or swap. */
  subscribe(listener: (progress: DrainProgress) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Connections begin to end. */
  begin(connections: number): void {
    const isFirst = this.#ending === 0;
    this.#ending += connections;
    if (isFirst) this.#notify({ phase: "started", connections, forced: 0, untrusted: 0 });
  }

  /** Connections that began to end have ended. */
  end(way: EndOfConnection, connections = 1): void {
    this.#total[way] += connections;
    this.#ended[way] += connections;
    this.#ending -= connections;
    if (this.#ending > 0) return;
    const { gently, forced, untrusted } = this.#ended;
    this.#ended = { gently: 0, forced: 0, untrusted: 0 };
    this.#notify({ phase: "ended", connections: gently + forced + untrusted, forced, untrusted });
  }

  /** Connections that had not begun to end were disconnected, because their clients may not enter any more. */
  disconnect(untrusted: number): void {
    if (untrusted === 0) return;
    this.#total.untrusted += untrusted;
    this.#notify({ phase: "ended", connections: untrusted, forced: 0, untrusted });
  }

  #notify(progress: DrainProgress): void {
    queueMicrotask(() => {
      for (const listener of [...this.#listeners]) guarded(() => listener(progress));
    });
  }
}
