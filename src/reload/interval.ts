import { clearTimeout, setTimeout } from "node:timers";
import { retryPauseMs } from "../backoff.ts";

/** The pause after the first of several rejections in a row. */
const FIRST_RETRY_MS = 1_000;
/** Keeps the processes of a fleet from loading all at once. */
const JITTER = 0.1;

/**
 * Reloads after a pause, again and again: the interval after a success, a shorter pause after a rejection. A timer is
 * set whenever no reload of this trigger runs, until `close()`.
 */
export class IntervalTrigger {
  readonly #intervalMs: number;
  readonly #reload: () => Promise<unknown>;
  readonly #failuresInARow: () => number;
  #timer: NodeJS.Timeout | undefined;
  #isOpen = true;

  constructor(intervalMs: number, reload: () => Promise<unknown>, failuresInARow: () => number) {
    this.#intervalMs = intervalMs;
    this.#reload = reload;
    this.#failuresInARow = failuresInARow;
    this.#schedule();
  }

  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (!this.#isOpen) return;
    const failures = this.#failuresInARow();
    const firstMs = failures === 0 ? this.#intervalMs : FIRST_RETRY_MS;
    const pauseMs = retryPauseMs(Math.max(failures - 1, 0), { firstMs, lastMs: this.#intervalMs, jitter: JITTER });
    this.#timer = setTimeout(() => void this.#reload().then(() => this.#schedule()), pauseMs).unref();
  }
}
