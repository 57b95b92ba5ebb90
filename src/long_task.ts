/** The longest time that a task may block the event loop, short enough that no connection waits noticeably. */
const MAX_BLOCK_MS = 8;

/**
 * Divides a long task into turns of the event loop, so that connections are served meanwhile.
 *
 * Invariant: between two calls of {@linkcode LongTask.pause} the event loop is blocked by one piece of work at most,
 * plus 8 ms of earlier pieces. Of a task with several workers, each may do one piece.
 */
export class LongTask {
  #start = performance.now();
  #nextTurn: Promise<void> | undefined;

  /** Call before each piece of work. Waits for the next turn if this one has lasted long enough. */
  async pause(): Promise<void> {
    if (performance.now() - this.#start < MAX_BLOCK_MS) return;
    this.#nextTurn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#start = performance.now();
        this.#nextTurn = undefined;
        resolve();
      });
    });
    await this.#nextTurn;
  }
}
