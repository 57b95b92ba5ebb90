import { clearTimeout, setTimeout } from "node:timers";
import { MAX_MS } from "./durations.ts";

/**
 * Calls a function at the earliest of the moments that it was asked for, so that a stream of requests cannot postpone
 * the call. Keeps no process running.
 *
 * Invariant: the timer is set exactly while a call is due.
 */
export class EarliestTimer {
  readonly #call: () => void;
  #dueAt = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(call: () => void) {
    this.#call = call;
  }

  /** Calls after this time, or the longest wait of a timer, unless a call is due earlier. `Infinity` is never. */
  schedule(ms: number): void {
    const dueAt = performance.now() + ms;
    if (dueAt >= this.#dueAt) return;
    this.cancel();
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => this.#fire(), Math.min(ms, MAX_MS)).unref();
  }

  /** No call is due any more. */
  cancel(): void {
    clearTimeout(this.#timer);
    this.#dueAt = Infinity;
  }

  #fire(): void {
    this.#dueAt = Infinity;
    this.#call();
  }
}
