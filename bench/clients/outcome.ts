// What the clients of a rotation and the process that starts them must agree on.

/** How many connect anew, over and over. */
export const CLIENTS = 16;
/** How many connections of each kind last. */
export const LASTING = 8;
export const SWAP_EVERY_MS = 50;
/** The line that asks for a swap; the answer is a line as well. */
export const SWAP = "swap";

/** The outcome of a rotation; the last line. */
export interface Outcome {
  readonly seconds: number;
  readonly visits: number;
  readonly swaps: number;
  readonly lost: number;
  readonly stale: number;
  /** Connections that asked again and again, and had an answer each time. */
  readonly busy: number;
  readonly idle: number;
  readonly half: number;
  /** From connect to first byte, with swaps and without. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly controlP50Ms: number;
  readonly controlP99Ms: number;
}
