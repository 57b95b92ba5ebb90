import { clearTimeout, setTimeout } from "node:timers";
import { retryPauseMs } from "../backoff.ts";

/** The pause after the first rejection. */
const FIRST_RETRY_MS = 1_000;
/** Spreads the loads of many processes. */
const JITTER = 0.1;

/** The pauses of an {@linkcode IntervalTrigger}. */
export interface IntervalPauses {
  /** The pause after a success. `Infinity` reloads only after rejections. */
  readonly intervalMs: number;
  /** The longest pause after a rejection. */
  readonly lastRetryMs: number;
}

/**
 * Reloads after a pause from the end of the last reload of any trigger.
 *
 * Invariant: from `start()` to `close()`, either a reload runs or the timer is set, unless the pause is `Infinity`.
 */
export class IntervalTrigger {
  readonly #pauses: IntervalPauses;
  readonly #reload: () => void;
  #timer: NodeJS.Timeout | undefined;
  #isOpen = true;

  constructor(pauses: IntervalPauses, reload: () => void) {
    this.#pauses = pauses;
    this.#reload = reload;
  }

  /** Sets the timer. Called at the start, and after each reload. */
  start(failuresInARow: number): void {
    const { intervalMs, lastRetryMs } = this.#pauses;
    clearTimeout(this.#timer);
    if (!this.#isOpen || (failuresInARow === 0 && intervalMs === Infinity)) return;
    const pauseMs = failuresInARow === 0
      ? retryPauseMs(0, { firstMs: intervalMs, lastMs: intervalMs, jitter: JITTER })
      : retryPauseMs(failuresInARow - 1, { firstMs: FIRST_RETRY_MS, lastMs: lastRetryMs, jitter: JITTER });
    this.#timer = setTimeout(this.#reload, pauseMs).unref();
  }

  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
  }
}
