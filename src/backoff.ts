import { clearTimeout, setTimeout } from "node:timers";
import { MAX_MS } from "./durations.ts";

/** The growth of the pauses between retries. */
export interface BackoffOptions {
  /** The pause before the first retry. */
  readonly firstMs: number;
  /** The longest pause. */
  readonly lastMs: number;
  /**
   * The largest random deviation of a pause, as a share of the pause: 0.2 is up to 20 % shorter or longer. It spreads
   * the retries of many processes.
   *
   * @default {0}
   */
  readonly jitter?: number;
}

/** The pause before a retry, by the number of retries since the last success. It doubles with each retry. */
export function retryPauseMs(retries: number, { firstMs, lastMs, jitter = 0 }: BackoffOptions): number {
  const pauseMs = Math.min(firstMs * 2 ** retries, lastMs);
  return Math.min(pauseMs * (1 + jitter * (2 * Math.random() - 1)), MAX_MS);
}

/**
 * Counts the retries of one operation.
 *
 * Invariant: each pause is twice the previous one, up to the longest pause, until a success resets it.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  #retries = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** The pause before the next retry. */
  nextPauseMs(): number {
    return retryPauseMs(this.#retries++, this.#options);
  }

  /** Called after a success: the next pause is the first one again. */
  reset(): void {
    this.#retries = 0;
  }
}

/** Calls a function again after pauses that grow; one call is scheduled at a time. Keeps no process running. */
export class Retry {
  readonly #call: () => void;
  readonly #backoff: Backoff;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(call: () => void, options: BackoffOptions) {
    this.#call = call;
    this.#backoff = new Backoff(options);
  }

  /** Calls the function after the next pause. */
  schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#call, this.#backoff.nextPauseMs()).unref();
  }

  /** Starts again with the shortest pause, and cancels a call that is scheduled. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#backoff.reset();
  }
}
