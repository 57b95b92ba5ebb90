import { FIRST_DESCRIPTOR, type Kernel } from "../kernel/kernel.ts";

/** The connections that carry a mark. */
export interface Marked {
  /** Their number. */
  readonly connections: number;
  /** The descriptor of one of them. */
  readonly witness: number;
}

/** Which sockets are connections of a server. */
export interface CountedSockets {
  /** The local ports: that of the public socket, and those that servers started on. */
  readonly ports: ReadonlySet<number>;
  /** The marks. Other sockets carry none, and those of other servers on the same port carry others. */
  readonly marks: ReadonlySet<number>;
}

/**
 * How many descriptors are looked at in any case: one or two milliseconds. The clock goes on while other processes run,
 * and a small table is to be counted before its connections end.
 */
const FIRST_BATCH = 512;
/** How many more are looked at between two looks at the clock: a tenth of a millisecond. */
const BATCH = 32;

/**
 * A walk over the descriptor table that counts connections by their marks. It can stop anywhere and go on later.
 *
 * Invariant: each descriptor below `#next` was looked at once. No older connection is missed, because a connection
 * keeps its descriptor, and no server but the newest accepts.
 */
export class ConnectionCount {
  readonly #kernel: Kernel;
  readonly #sockets: CountedSockets;
  readonly #end: number;
  readonly #found = new Map<number, { connections: number; witness: number }>();
  #next = FIRST_DESCRIPTOR;

  constructor(kernel: Kernel, sockets: CountedSockets) {
    this.#kernel = kernel;
    this.#sockets = sockets;
    this.#end = kernel.tableSize();
  }

  /** Walks on for a time. Returns whether the walk is at its end. */
  advance(maxMs: number): boolean {
    const until = performance.now() + maxMs;
    let batchEnd = Math.min(this.#next + FIRST_BATCH, this.#end);
    do {
      while (this.#next < batchEnd) this.#look(this.#next++);
      batchEnd = Math.min(batchEnd + BATCH, this.#end);
    } while (this.#next < batchEnd && performance.now() < until);
    return this.#next === this.#end;
  }

  /** The connections by mark, when the walk is at its end. */
  get byMark(): ReadonlyMap<number, Marked> {
    return this.#found;
  }

  #look(descriptor: number): void {
    const mark = connectionMark(this.#kernel, descriptor, this.#sockets);
    if (mark === undefined) return;
    const marked = this.#found.get(mark);
    if (marked) marked.connections++;
    else this.#found.set(mark, { connections: 1, witness: descriptor });
  }
}

/** The mark of a descriptor, if it is a connection of the server. */
export function connectionMark(
  kernel: Kernel,
  descriptor: number,
  { ports, marks }: CountedSockets,
): number | undefined {
  const mark = kernel.mark(descriptor);
  if (!marks.has(mark) || !ports.has(kernel.port(descriptor)) || kernel.isListening(descriptor)) return undefined;
  return mark;
}
