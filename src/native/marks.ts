/** The mark of a connection whose listener had none yet. */
export const UNMARKED = 0;

/**
 * A mark is a value of `TCP_NOTSENT_LOWAT`. From 1 GiB on the option has no effect: no socket buffers that much. Bits
 * 16 to 29 tell the owner, the lower ones count.
 */
const FIRST_MARK = 0x4000_0000;
const OWNERS = 0x4000;
const MARKS_PER_OWNER = 0x1_0000;

/**
 * The marks that the handoffs of one thread give to their connections.
 *
 * Invariant: no two generations of the process have the same mark: the owner is a descriptor number, which the process
 * has once, and a mark in use is not given again.
 */
export class Marks {
  readonly #base: number;
  readonly #taken = new Set<number>();
  #next = 0;

  /** Makes the marks of a descriptor, which stays open for as long as they are used. */
  constructor(descriptor: number) {
    this.#base = FIRST_MARK + (descriptor % OWNERS) * MARKS_PER_OWNER;
  }

  /** A mark that no connection has. */
  take(): number {
    if (this.#taken.size === MARKS_PER_OWNER) throw new Error("Cannot take a mark: all of them are in use");
    while (this.#taken.has(this.#base + this.#next)) this.#next = (this.#next + 1) % MARKS_PER_OWNER;
    const mark = this.#base + this.#next;
    this.#next = (this.#next + 1) % MARKS_PER_OWNER;
    this.#taken.add(mark);
    return mark;
  }

  /** Gives a mark back that no connection has any more. */
  release(mark: number): void {
    this.#taken.delete(mark);
  }

  /** How many are in use. */
  get size(): number {
    return this.#taken.size;
  }
}

/** How long the kernel may take to queue a connection that has its mark. */
const QUEUED_WITHIN_MS = 10;

/**
 * The marks that connections in the queue of the public socket may carry: the newest, the one before, and older ones
 * until the queue was found empty. The kernel copies the mark before it queues the connection, so the previous mark can
 * appear in a queue that was empty when the newest mark was set.
 */
export class QueuedMarks {
  #marks: readonly { readonly mark: number; readonly since: number }[];

  /** Starts with the connections that came before the first mark. */
  constructor(first: number, now: number) {
    this.#marks = [{ mark: UNMARKED, since: -Infinity }, { mark: first, since: now }];
  }

  /** All of them, oldest first. */
  get all(): readonly number[] {
    return this.#marks.map(({ mark }) => mark);
  }

  /** Adds the mark that connections get from now on. */
  add(mark: number, now: number): void {
    this.#marks = [...this.#marks, { mark, since: now }];
  }

  /** Forgets marks whose connections have left, if the queue is empty now. */
  settle(queueLength: number, now: number): void {
    if (queueLength !== 0) return;
    const oldest = this.#marks.findLastIndex(({ since }) => now - since >= QUEUED_WITHIN_MS);
    this.#marks = this.#marks.slice(oldest);
  }
}
