import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { takesTrustAway } from "../accept/trust.ts";
import type { SocketAddress } from "../kernel/kernel.ts";
import { ListenerGoneError } from "../kernel/listener.ts";
import type { HandoffGeneration } from "./handoff_generation.ts";
import type { HandoffGenerations } from "./handoff_generations.ts";
import { type ListenAddress, LOOPBACK, type NativeServer } from "./native_server.ts";
import { type HandoffTools, PublicSocket } from "./public_socket.ts";
import type { ServerStarter } from "./server_starter.ts";
import { servingError, typedError } from "./serving_errors.ts";

/** What the parts of a handoff get from it. */
export interface HandoffContext<Server extends NativeServer> {
  readonly tools: HandoffTools;
  readonly starter: ServerStarter<Server>;
  readonly generations: HandoffGenerations<Server>;
  /** The configuration that is to serve. */
  newest(): TlsAcceptor;
  /** Reports an error. */
  report(error: unknown): void;
}

/**
 * The port that clients connect to, and the generation that serves it: the last one in the list of generations.
 *
 * Invariant: the port has a public socket, unless its server has ended by itself and took it along; then the port
 * listens anew. A client is never served on trust that the newest configuration has taken away: rather the socket stays
 * parked, or its server is stopped.
 */
export class PublicPort<Server extends NativeServer> {
  readonly #context: HandoffContext<Server>;
  #listenAddress: ListenAddress;
  #address: SocketAddress = { hostname: "", port: 0 };
  /** `undefined` while none listens, because a server has ended by itself. */
  #socket: PublicSocket | undefined;

  /** Makes a port that does not listen yet. */
  constructor(context: HandoffContext<Server>, address: ListenAddress) {
    this.#context = context;
    this.#listenAddress = address;
  }

  /** Where it listens. */
  get address(): SocketAddress {
    return this.#address;
  }

  /** The generation that has the public socket, or had it last. */
  get serving(): HandoffGeneration<Server> {
    return this.#context.generations.list.at(-1)!;
  }

  /** Whether no server accepts, but clients wait in the queue. */
  get isParked(): boolean {
    return this.#socket?.isParked ?? false;
  }

  /** Whether nothing listens. */
  get isLost(): boolean {
    return this.#socket === undefined;
  }

  /** Whether clients are served with a configuration. */
  isServedBy(acceptor: TlsAcceptor): boolean {
    const { phase, acceptor: serving } = this.serving;
    return this.#socket?.isParked === false && phase === "running" && serving === acceptor;
  }

  /** Starts a server at the public address. Throws if it does not start; nothing is left of it. */
  listen(acceptor: TlsAcceptor): void {
    const generation = this.#context.starter.start(acceptor, this.#listenAddress);
    this.#use(generation, generation);
  }

  /**
   * Takes the socket of a server that listens already, and hands it over. Throws if it fails: the server serves on, and
   * the other generation is discarded.
   */
  take(own: HandoffGeneration<Server>, next: HandoffGeneration<Server>): void {
    this.#use(own, next);
    try {
      this.handOver(next);
    } catch (error) {
      if (this.isParked) this.#socket?.restore();
      throw error;
    }
  }

  /** Keeps the serving generation from accepting, because there is a newer one. If that fails, the error is reported. */
  park(): void {
    const socket = this.#socket;
    if (!socket || socket.isParked) return;
    try {
      socket.park();
    } catch (error) {
      const { serving } = this;
      const newest = this.#context.newest();
      serving.own(socket.queued.all);
      this.#context.report(servingError(newest, error));
      if (socket.isParked) return;
      const mustStop = takesTrustAway(serving.acceptor.config, newest.config);
      // No client may get in on old trust, even if open connections are lost.
      if (mustStop) serving.server.stop();
      if (mustStop || error instanceof ListenerGoneError) this.#lose(socket);
    }
  }

  /** Gives the socket to another generation. Throws if it fails; that generation is discarded. */
  handOver(next: HandoffGeneration<Server>): void {
    const socket = this.#socket!;
    try {
      // Parked only now, so that connections do not wait while a retry may fail.
      if (!socket.isParked) socket.park();
      socket.handOver(next.listener);
    } catch (error) {
      this.#context.starter.discard(next);
      this.serving.own(socket.queued.all);
      if (error instanceof ListenerGoneError && !socket.isParked) this.#lose(socket);
      throw error;
    }
    this.#context.generations.add(next, socket);
  }

  /** Lets the generation serve that had the socket, or another one of its configuration. Throws if neither can. */
  restore(): void {
    const socket = this.#socket;
    const { acceptor } = this.serving;
    if (!socket) return this.listen(acceptor);
    if (!socket.isParked) return;
    try {
      socket.restore();
      this.serving.own(socket.queued.all);
    } catch {
      // Its server has ended: another one of the same configuration takes its place.
    }
    if (socket.isParked || this.serving.phase !== "running") {
      this.handOver(this.#context.starter.start(acceptor, LOOPBACK));
    }
  }

  /** A server has ended by itself. Returns whether the port needs another one. */
  serverEnded(generation: HandoffGeneration<Server>): boolean {
    const socket = this.#socket;
    if (generation !== this.serving || !socket || socket.isParked) return false;
    if (socket.isHeld) {
      // Nothing in the queue is lost, and the server is still to be stopped.
      generation.phase = "gave up";
    } else this.#lose(socket);
    return true;
  }

  /** A server accepts until another one of the same configuration does. Returns whether the port needs that one. */
  serverExhausted(server: Server): boolean {
    const { serving } = this;
    if (server !== serving.server || serving.phase !== "running") return false;
    serving.phase = "exhausted";
    return true;
  }

  /** Stops listening. */
  close(): void {
    try {
      this.#socket?.close();
    } catch (error) {
      // The port must be free, even if open connections are lost.
      this.serving.server.stop();
      this.#context.report(typedError("Cannot stop listening without closing connections", error));
    }
  }

  /** Makes the socket of a generation the public one. Throws if it fails, and discards the generation that has no use. */
  #use(generation: HandoffGeneration<Server>, useless: HandoffGeneration<Server>): void {
    const { tools, starter, generations } = this.#context;
    try {
      this.#socket = new PublicSocket(tools, generation.listener);
    } catch (error) {
      starter.discard(useless);
      throw error;
    }
    this.#address = this.#socket.address;
    this.#listenAddress = { ...this.#listenAddress, port: this.#address.port };
    generations.add(generation, this.#socket);
  }

  #lose(socket: PublicSocket): void {
    socket.lose();
    this.#socket = undefined;
  }
}
