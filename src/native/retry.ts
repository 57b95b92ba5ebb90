import { clearTimeout, setTimeout } from "node:timers";

const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 60_000;

/** Calls a function again after pauses that grow, at most one call at a time. Keeps no process running. */
export class Retry {
  readonly #call: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(call: () => void) {
    this.#call = call;
  }

  /** Calls the function after the next pause. */
  schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#call, this.#pauseMs).unref();
    this.#pauseMs = Math.min(2 * this.#pauseMs, LAST_PAUSE_MS);
  }

  /** Starts again with the shortest pause, and cancels a call that is scheduled. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#pauseMs = FIRST_PAUSE_MS;
  }
}
