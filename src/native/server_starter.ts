import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { findListener } from "../kernel/listener.ts";
import { HandoffGeneration } from "./handoff_generation.ts";
import { UNMARKED } from "./marks.ts";
import { type ListenAddress, LOOPBACK, type NativeRuntime, type NativeServer } from "./native_server.ts";
import type { HandoffTools } from "./public_socket.ts";

/** What a {@linkcode ServerStarter} gets from its handoff. */
interface StarterContext<Server> {
  /** Called when a server has ended, with its error if it ended by itself. */
  onEnded(server: Server, error: unknown): void;
  /** Called when another server must take the place of one that runs. */
  onExhausted(server: Server): void;
}

/** What a {@linkcode ServerStarter} proves, and by which runtime. */
export interface ProofOptions<Server extends NativeServer> {
  /** After a hot reload, it is of another copy of its class. */
  readonly state: { acceptor(): TlsAcceptor };
  /** The runtime that starts the servers. */
  readonly runtime: NativeRuntime<Server>;
}

/**
 * Starts native servers and finds their listening descriptors, which must happen in one turn of the event loop.
 *
 * Invariant: a server is in `#running` from its start until it has ended. A server whose listener is not found is
 * stopped; every other one belongs to the caller, who discards it or lets it serve.
 */
export class ServerStarter<Server extends NativeServer> {
  readonly #tools: HandoffTools;
  readonly #context: StarterContext<Server>;
  readonly #running = new Set<Server>();
  /** The runtime that starts the next server. */
  runtime: NativeRuntime<Server>;
  #isRef = true;

  constructor(tools: HandoffTools, runtime: NativeRuntime<Server>, context: StarterContext<Server>) {
    this.#tools = tools;
    this.runtime = runtime;
    this.#context = context;
  }

  /** Starts a server. Throws if it does not start, or if its listener is not found; then nothing is left of it. */
  start(acceptor: TlsAcceptor, address: ListenAddress, runtime = this.runtime): HandoffGeneration<Server> {
    const { kernel, marks, publicCookies } = this.#tools;
    const near = kernel.lowestFree();
    const server = runtime.start(acceptor, address);
    this.#add(server);
    const mark = marks.take();
    try {
      if (!this.#isRef) server.unref();
      const listener = findListener(kernel, server.port, near, publicCookies);
      // Connections to the port that it started on are its own, and are counted.
      kernel.setMark(listener.descriptor, mark);
      return new HandoffGeneration(acceptor, server, listener, mark);
    } catch (error) {
      marks.release(mark);
      server.stop();
      throw error;
    }
  }

  /** Finds the listener of a server that was started elsewhere. Throws if it is not found. */
  watch(acceptor: TlsAcceptor, server: Server): HandoffGeneration<Server> {
    const { kernel, publicCookies } = this.#tools;
    const listener = findListener(kernel, server.port, -1, publicCookies);
    this.#add(server);
    return new HandoffGeneration(acceptor, server, listener, UNMARKED);
  }

  /** Starts a server on the loopback interface and proves it by a handshake. Rejects if either fails. */
  async startProved(acceptor: TlsAcceptor, runtime = this.runtime): Promise<HandoffGeneration<Server>> {
    await this.#tools.kernel.prepareRegistrations();
    const generation = this.start(acceptor, LOOPBACK, runtime);
    try {
      await runtime.prove(generation.server, acceptor);
      return generation;
    } catch (error) {
      this.discard(generation);
      throw error;
    }
  }

  /** Proves the current configuration of a state with a server for no clients, until no swap has come between. */
  async proveCurrent({ state, runtime }: ProofOptions<Server>): Promise<TlsAcceptor> {
    for (;;) {
      const acceptor = state.acceptor();
      runtime.requireServable(acceptor.config);
      this.discard(await this.startProved(acceptor, runtime));
      if (acceptor === state.acceptor()) return acceptor;
    }
  }

  /** Ends a server that has no clients. */
  discard({ server, marks }: HandoffGeneration<Server>): void {
    for (const mark of marks) this.#tools.marks.release(mark);
    if (this.#running.has(server)) server.stop();
  }

  #add(server: Server): void {
    this.#running.add(server);
    const ended = (error?: unknown) => {
      this.#running.delete(server);
      this.#context.onEnded(server, error);
    };
    server.ended.then(() => ended(), ended);
    void server.exhausted?.then(() => this.#context.onExhausted(server));
  }

  /** Servers keep the process running. */
  ref(): void {
    this.#isRef = true;
    for (const server of this.#running) server.ref();
  }

  /** Servers no longer keep the process running. */
  unref(): void {
    this.#isRef = false;
    for (const server of this.#running) server.unref();
  }
}
