import type { Socket } from "node:net";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { addFollower, sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { SocketAddress } from "../kernel/kernel.ts";
import { type Backend, destroyAll, FrontGeneration, FrontGenerations } from "./front_generations.ts";
import { FrontSuccession } from "./front_succession.ts";
import type { Generation, ServingGenerations } from "./native_server.ts";
import type { Listen, PublicListener } from "./public_listener.ts";
import { errorReporter } from "./serving_errors.ts";
import type { ServingOptions } from "./serving_options.ts";

/** Listens, and starts and proves the backends of a front. */
export interface FrontRuntime<Server> {
  /** Whether its backends ask clients for certificates and do not show them. */
  readonly hidesClients?: boolean;
  /** Whether its backends accept by the acceptors of the state, which count the connections already. */
  readonly acceptsByState?: boolean;
  /** Opens the public listener. */
  readonly listen: Listen;
  /** Starts the backend of a generation and proves that it can serve; rejects if it cannot. */
  start(acceptor: TlsAcceptor): Backend<Server> | Promise<Backend<Server>>;
  /** Throws `UNSUPPORTED` if no backend can serve this configuration. */
  requireServable?(config: TlsConfig): void;
  /** Throws `UNSUPPORTED` if the backends cannot answer ACME challenges. */
  requireAlpnChallenges?(): void;
}

/** The options of a {@linkcode Front}. */
export interface FrontOptions extends ServingOptions {
  /** Why the front is used. */
  readonly mechanismReason?: string;
}

/**
 * The fallback for native servers: one public TCP listener, open for the server's whole life, in front of one backend
 * for each generation. {@linkcode FrontSuccession} decides which generation serves.
 *
 * Invariant: an accepted connection waits while the newest generation starts, then belongs to the one that serves, and
 * stays with it until the connection ends.
 */
export class Front<Server> implements ServingGenerations<Server> {
  readonly mechanism = "front";
  readonly mechanismReason: string;
  readonly #report: (error: unknown) => void;
  readonly #generations: FrontGenerations<Server>;
  readonly #succession: FrontSuccession<Server>;
  readonly #waiting = new Set<Socket>();
  readonly #finished = Promise.withResolvers<void>();
  #listener!: PublicListener;
  #following: Disposable | undefined;
  #isClosed = false;

  private constructor(
    state: TlsState,
    runtime: FrontRuntime<Server>,
    options: FrontOptions,
    first: FrontGeneration<Server>,
  ) {
    this.mechanismReason = options.mechanismReason ?? "front";
    this.#report = errorReporter(options);
    const { drain, drainTally } = sharedBy(state);
    const counted = { drain, drainTally: runtime.acceptsByState ? undefined : drainTally };
    this.#generations = new FrontGenerations(first, counted, () => this.#finish());
    this.#succession = new FrontSuccession({
      state,
      generations: this.#generations,
      start: (acceptor) => runtime.start(acceptor),
      onReleased: () => this.#serveWaiting(),
      onRested: () => this.#finish(),
      report: this.#report,
    });
  }

  /** Starts the first generation, then listens. Rejects if either fails, and leaves nothing open. */
  static async open<Server>(
    state: TlsState,
    runtime: FrontRuntime<Server>,
    options: FrontOptions = {},
  ): Promise<Front<Server>> {
    const acceptor = state.acceptor();
    const first = new FrontGeneration(acceptor, await runtime.start(acceptor));
    const front = new Front(state, runtime, options, first);
    try {
      front.#listener = await runtime.listen({
        onAccepted: (client) => front.#accept(client),
        onClosed: (client) => front.#forget(client),
        onFailed: (error) => front.#report(error),
      });
    } catch (error) {
      first.backend.stop?.();
      throw error;
    }
    front.#following = addFollower(state, {
      hidesClients: runtime.hidesClients ?? false,
      get generations() {
        return runtime.acceptsByState ? [] : front.generations;
      },
      requireServable: (next) => runtime.requireServable?.(next),
      requireAlpnChallenges: () => runtime.requireAlpnChallenges?.(),
      follow: () => front.#succession.advance(),
    });
    front.#succession.advance();
    return front;
  }

  get address(): SocketAddress {
    return this.#listener.address;
  }

  get generations(): Generation[] {
    return [...this.#generations].map(({ generation, connections }) => ({ generation, connections }));
  }

  get servers(): Server[] {
    return [...this.#generations].map(({ backend }) => backend.server);
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#following?.[Symbol.dispose]();
    this.#succession.stop();
    this.#listener.close();
    destroyAll(this.#waiting);
    this.#waiting.clear();
    this.#generations.close();
  }

  destroy(): void {
    this.close();
    this.#generations.destroyConnections();
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }

  #accept(client: Socket): void {
    const succession = this.#succession;
    // Without a swap, a connection does not wait for a promise.
    if (succession.isSettled) return this.#serve(client);
    this.#waiting.add(client);
    succession.settled().then(() => {
      if (!succession.isHolding && this.#waiting.delete(client)) this.#serve(client);
    });
  }

  #serveWaiting(): void {
    for (const client of this.#waiting) {
      this.#waiting.delete(client);
      this.#serve(client);
    }
  }

  #serve(client: Socket): void {
    const { clients, backend } = this.#generations.serving;
    clients.add(client);
    try {
      backend.serve(client);
    } catch (error) {
      client.destroy();
      this.#report(error);
    }
  }

  #forget(client: Socket): void {
    this.#waiting.delete(client);
    this.#generations.remove(client);
  }

  #finish(): void {
    if (this.#isClosed && this.#generations.size === 0 && !this.#succession.isStarting) this.#finished.resolve();
  }
}
