import { clearTimeout, setTimeout } from "node:timers";
import { Backoff, type BackoffOptions } from "../backoff.ts";

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
