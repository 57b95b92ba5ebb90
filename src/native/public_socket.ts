import type { Kernel, SocketAddress } from "../kernel/kernel.ts";
import { type Listener, ListenerBrokenError, ListenerGoneError, placeSocket } from "../kernel/listener.ts";
import { type Marks, QueuedMarks } from "./marks.ts";

/** What all handoffs of a thread share. */
export interface HandoffTools {
  readonly kernel: Kernel;
  readonly marks: Marks;
  /** A listener that refuses every connection, for servers that must not accept. */
  readonly dummy: number;
  /** The cookies of all public sockets: other servers of the thread may listen on the same port (`reusePort`). */
  readonly publicCookies: Set<bigint>;
}

/** Connections that come while no server accepts wait in the queue. The system may allow fewer (`somaxconn`). */
const PARKED_BACKLOG = 4096;

/**
 * The listening socket that clients connect to. It lives as long as its port is served, and passes from server to
 * server.
 *
 * Invariant: at most one server has it under its listening descriptor, and that descriptor is then its only one, so
 * that everything that ends the server frees the port. While it is parked no server has it, and `#parked` is its only
 * descriptor. Every descriptor of a server that does not have it holds the dummy, registered as before.
 */
export class PublicSocket {
  readonly address: SocketAddress;
  readonly cookie: bigint;
  /** The marks that connections in its queue may carry. */
  readonly queued: QueuedMarks;
  readonly #tools: HandoffTools;
  readonly #dummyCookie: bigint;
  readonly #backlog: number;
  #holder: Listener;
  #parked = -1;

  /** Takes the socket of a server that has just started. */
  constructor(tools: HandoffTools, listener: Listener) {
    const { kernel, marks, dummy } = tools;
    this.#tools = tools;
    this.#holder = listener;
    this.#dummyCookie = kernel.cookie(dummy);
    this.cookie = listener.cookie;
    this.address = kernel.address(listener.descriptor);
    this.#backlog = kernel.queue(listener.descriptor).limit;
    kernel.setNoDelay(listener.descriptor);
    const mark = marks.take();
    try {
      kernel.setMark(listener.descriptor, mark);
    } catch (error) {
      marks.release(mark);
      throw error;
    }
    this.queued = new QueuedMarks(mark, performance.now());
    tools.publicCookies.add(this.cookie);
  }

  /** Whether no server accepts: connections wait in the queue. */
  get isParked(): boolean {
    return this.#parked >= 0;
  }

  /** Whether the server that has it has not closed it. */
  get isHeld(): boolean {
    return this.#tools.kernel.cookie(this.#holder.descriptor) === this.cookie;
  }

  /**
   * Takes the socket from its server, which keeps its connections. Connections that come from now on get a new mark.
   * Throws if it fails, and the server goes on accepting; or, if even that fails, the socket is parked all the same.
   */
  park(): void {
    const { kernel, marks, dummy } = this.#tools;
    this.settle();
    const socket = kernel.duplicate(this.#holder.descriptor);
    const mark = marks.take();
    try {
      if (kernel.cookie(socket) !== this.cookie) throw new ListenerGoneError();
      kernel.setMark(socket, mark);
      this.queued.add(mark, performance.now());
      kernel.listen(socket, PARKED_BACKLOG);
      placeSocket(kernel, this.#holder, { socket: dummy, expected: this.cookie, otherwise: socket });
    } catch (error) {
      if (!this.queued.all.includes(mark)) marks.release(mark);
      if (error instanceof ListenerBrokenError) this.#parkBroken(socket);
      else kernel.close(socket);
      throw error;
    }
    this.#parked = socket;
  }

  /** The server no longer accepts, so it must not hold the socket. */
  #parkBroken(socket: number): void {
    this.#parked = socket;
    try {
      this.#tools.kernel.replace(this.#holder.descriptor, this.#tools.dummy);
    } catch {
      // The port is free when this server has ended as well.
    }
  }

  /** Gives the parked socket to a server. Throws if it fails: it stays parked, and the server is of no use any more. */
  handOver(listener: Listener): void {
    const { kernel, dummy } = this.#tools;
    placeSocket(kernel, listener, { socket: this.#parked, expected: listener.cookie, otherwise: dummy });
    this.#holder = listener;
    this.#unpark();
  }

  /** Gives the parked socket back to the server that had it. Throws if it fails: it stays parked. */
  restore(): void {
    const { kernel, dummy } = this.#tools;
    placeSocket(kernel, this.#holder, { socket: this.#parked, expected: this.#dummyCookie, otherwise: dummy });
    this.#unpark();
  }

  /** Its server has ended, and with it the socket. */
  lose(): void {
    this.#tools.publicCookies.delete(this.cookie);
  }

  /** Stops listening: the port is free. Throws if that cannot be; then ending the server frees it. */
  close(): void {
    const { kernel, dummy, publicCookies } = this.#tools;
    publicCookies.delete(this.cookie);
    if (this.isParked) {
      kernel.close(this.#parked);
      this.#parked = -1;
    } else {
      placeSocket(kernel, this.#holder, { socket: dummy, expected: this.cookie, otherwise: dummy });
    }
  }

  /** Checks whether older connections have left the queue. */
  settle(): void {
    const { kernel } = this.#tools;
    const descriptor = this.isParked ? this.#parked : this.#holder.descriptor;
    if (!this.isParked && !this.isHeld) return;
    this.queued.settle(kernel.queue(descriptor).length, performance.now());
  }

  #unpark(): void {
    const { kernel } = this.#tools;
    try {
      kernel.listen(this.#parked, this.#backlog);
    } catch {
      // A longer queue than the server asked for is harmless.
    }
    kernel.close(this.#parked);
    this.#parked = -1;
  }
}
