import type { DrainTally } from "../accept/drain_tally.ts";

/**
 * The drain of a generation whose connections are only counted, now and then.
 *
 * Invariant: as many of its connections are ending, for the tally, as the last count has found.
 */
export class CountedDrain {
  readonly #tally: DrainTally;
  #ending = 0;

  constructor(tally: DrainTally) {
    this.#tally = tally;
  }

  /** A count has found this many connections. */
  found(connections: number): void {
    const more = connections - this.#ending;
    this.#ending = connections;
    if (more > 0) this.#tally.begin(more);
    if (more < 0) this.#tally.end("gently", -more);
  }

  /** All connections that the last count has found end now. */
  force(): void {
    const forced = this.#ending;
    this.#ending = 0;
    if (forced > 0) this.#tally.end("forced", forced);
  }
}
