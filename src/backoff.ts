import { MAX_MS } from "./durations.ts";

/** How the pauses between retries grow. */
export interface BackoffOptions {
  /** The pause before the first retry. */
  readonly firstMs: number;
  /** The longest pause. */
  readonly lastMs: number;
  /**
   * How far a pause strays from its value, as a share of it: 0.2 is up to 20 % shorter or longer. It keeps the processes
   * of a fleet from retrying all at once.
   *
   * @default {0}
   */
  readonly jitter?: number;
}

/**
 * The pause before a retry: it doubles with each retry.
 *
 * @param retries How many retries there have been since the last success.
 * @param options The first and the longest pause, and the jitter.
 * @returns The pause, never longer than a timer of the runtimes can wait.
 */
export function retryPauseMs(retries: number, { firstMs, lastMs, jitter = 0 }: BackoffOptions): number {
  const pauseMs = Math.min(firstMs * 2 ** retries, lastMs);
  return Math.min(pauseMs * (1 + jitter * (2 * Math.random() - 1)), MAX_MS);
}

/** Counts the retries of one operation: each pause is twice the one before, until a success resets it. */
export class Backoff {
  readonly #options: BackoffOptions;
  #retries = 0;

  /** @param options The first and the longest pause, and the jitter. */
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
