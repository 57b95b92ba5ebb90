/** Standard input, output and error stand below. */
export const FIRST_DESCRIPTOR = 3;

/** Where a socket is bound. */
export interface SocketAddress {
  /** The IP address, as text. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/** What epoll reports of a descriptor, and how: the payload of `struct epoll_event`. */
export interface EpollEvent {
  /** The events that are waited for: a set of 32 bits. */
  readonly events: number;
  /** What the runtime finds its own object by: 64 bits that only the runtime understands. */
  readonly data: bigint;
}

/** An operation of the kernel failed. The reason is unknown, because `errno` cannot be read. */
export class KernelError extends Error {
  constructor(operation: string, reason = "the kernel refuses it") {
    super(`Cannot ${operation}: ${reason}`);
  }
}

/**
 * What the handoff asks of the kernel: sockets, descriptors, and the epoll instance that the event loop of this thread
 * waits on. Each operation is about one system call and either takes effect whole or throws a {@linkcode KernelError}
 * and changes nothing. Queries never throw: they return a value that no socket has.
 */
export interface Kernel {
  /**
   * A second descriptor of a socket, to be closed by {@linkcode Kernel.close}. The runtime closes it when the thread
   * ends, and children of the process do not inherit it.
   */
  duplicate(descriptor: number): number;
  /** Closes a descriptor. Never fails, because Linux frees the number whatever `close(2)` returns. */
  close(descriptor: number): void;
  /** Replaces the file of a descriptor by a socket. Registrations of the previous file are not moved. */
  replace(descriptor: number, socket: number): void;
  /** The number that the next descriptor gets, or -1 if none is free. */
  lowestFree(): number;
  /** Whether this many descriptors are free. */
  hasFree(count: number): boolean;
  /** A number above every open descriptor of the process. */
  tableSize(): number;

  /** Finds the epoll instance in which a descriptor of this thread is registered, and remembers it. */
  learnEventLoop(descriptor: number): void;
  /** Does in another thread what would make the next {@linkcode Kernel.registrations} take longer than others. */
  prepareRegistrations(): Promise<void>;
  /** How descriptors are registered in this thread's event loop, for each in order. */
  registrations(descriptors: readonly number[]): EpollEvent[][];
  /** Registers a descriptor with the event loop. */
  register(descriptor: number, event: EpollEvent): void;
  /** Ends the registration of a descriptor. */
  unregister(descriptor: number): void;

  /** Whether a descriptor is a listening socket. */
  isListening(descriptor: number): boolean;
  /** The identifier of a socket, which is unique until the system restarts, or 0n. */
  cookie(descriptor: number): bigint;
  /** The local port of an IP socket, or -1. */
  port(descriptor: number): number;
  /** The local address of an IP socket. */
  address(descriptor: number): SocketAddress;
  /** The mark of a TCP socket, or -1. A connection has that which its listener had when the kernel made it. */
  mark(descriptor: number): number;
  /** Marks the connections that a listener gets from now on. */
  setMark(descriptor: number, mark: number): void;
  /** Sends small segments at once on the connections that a listener gets from now on. */
  setNoDelay(descriptor: number): void;
  /** The length and the limit of the queue of a listener, or -1. */
  queue(descriptor: number): { readonly length: number; readonly limit: number };
  /** Changes how many connections may wait. */
  listen(descriptor: number, backlog: number): void;
  /** Opens a listener that refuses every connection. */
  openDummy(): number;
}
