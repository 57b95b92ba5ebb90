// What those who run the clients and the clients themselves must agree on.

/** How many connect anew, over and over. */
export const CLIENTS = 16;
/** How many connections of each kind last. */
export const LASTING = 8;
export const SWAP_EVERY_MS = 50;
/** The line that asks for a swap; the answer is a line as well. */
export const SWAP = "swap";

/** What one run came to; the last line. */
export interface Outcome {
  readonly seconds: number;
  readonly visits: number;
  readonly swaps: number;
  readonly lost: number;
  readonly stale: number;
  readonly idle: number;
  readonly half: number;
}
