/** The longest time that a task may block the event loop, short enough that no connection waits noticeably. */
const MAX_BLOCK_MS = 8;

/**
 * Divides a long task into turns of the event loop, so that connections are served meanwhile. Several workers may share
 * the task.
 *
 * Invariant: the event loop is blocked by one piece of work at most, plus 8 ms of earlier pieces. Workers that wait
 * continue in turns of their own.
 */
export class LongTask {
  #start = performance.now();
  readonly #waiting: (() => void)[] = [];

  /** Call before each piece of work. Waits for another turn if this one has lasted long enough. */
  async pause(): Promise<void> {
    if (performance.now() - this.#start < MAX_BLOCK_MS) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === 1) setImmediate(() => this.#continue());
    });
  }

  #continue(): void {
    this.#start = performance.now();
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(() => this.#continue());
  }
}
