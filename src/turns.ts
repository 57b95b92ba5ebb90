/** How long one turn of the event loop may take: short enough that no connection waits. */
const TURN_MS = 8;

/** Breaks long work into turns of the event loop, so that connections are served meanwhile. */
export class Turns {
  #start = performance.now();

  /** Call before each piece of work. Waits for the next turn if this one has taken long enough. */
  async next(): Promise<void> {
    if (performance.now() - this.#start < TURN_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#start = performance.now();
  }
}
