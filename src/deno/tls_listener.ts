import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { sharedBy, type TlsState } from "../accept/tls_state.ts";
import { proveTlsConfig } from "../config/proof.ts";
import { Front, type FrontOptions } from "../native/front.ts";
import type { Generation, ListenAddress, Mechanism, ServingGenerations } from "../native/native_server.ts";
import type { Peer } from "../native/peers.ts";
import { listenOn } from "../native/public_listener.ts";
import { openServing } from "../native/serving.ts";
import { frontReason } from "./accept_options.ts";
import { handshakingBackend, type HandshakingOptions } from "./handshaking_backend.ts";
import { type DenoTlsGeneration, DenoTlsRuntime } from "./native_listener.ts";
import { closedError, TlsConn } from "./tls_conn.ts";
import type { DenoAcceptOptions, DenoListenTlsOptions, DenoNetAddr, DenoTlsConn, DenoTlsListener } from "./types.ts";

/** The options that only the front has. */
const FRONT_OPTIONS = ["handshakeTimeoutMs"] as const;
const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * One `DenoTlsListener` over the listeners of all generations.
 *
 * Invariant: connections wait here for `accept()`, or calls of `accept()` wait for connections, never both. Each
 * connection is given to one call, or closed.
 */
export class TlsListener implements DenoTlsListener {
  #serving!: ServingGenerations<DenoTlsGeneration>;
  readonly #ready: DenoTlsConn[] = [];
  readonly #accepts: PromiseWithResolvers<DenoTlsConn>[] = [];
  #isClosed = false;

  static async open(
    state: TlsState,
    options: DenoListenTlsOptions,
    address: ListenAddress,
  ): Promise<TlsListener> {
    const listener = new TlsListener();
    const { handshakeTimeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const runtime = new DenoTlsRuntime(
      { ...options, handshakeTimeoutMs, drains: sharedBy(state).drain.when === "always" },
      (conn) => listener.#add(conn),
    );
    const openFront = (mechanismReason: string) => {
      const onSecure = (secure: TLSSocket, peer: Peer) => listener.#add(new TlsConn(secure, peer));
      return openTlsFront(state, address, onSecure, { ...options, handshakeTimeoutMs, mechanismReason });
    };
    const needsFront = frontReason(state.current(), options, FRONT_OPTIONS);
    listener.#serving = await openServing(state, address, options, { runtime, openFront, needsFront });
    return listener;
  }

  get mechanism(): Mechanism {
    return this.#serving.mechanism;
  }

  get mechanismReason(): string {
    return this.#serving.mechanismReason;
  }

  get addr(): DenoNetAddr {
    return { transport: "tcp", ...this.#serving.address };
  }

  get generations(): readonly Generation[] {
    return this.#serving.generations;
  }

  accept(): Promise<DenoTlsConn> {
    if (this.#isClosed) return Promise.reject(closedError("Listener"));
    const conn = this.#ready.shift();
    if (conn) return Promise.resolve(conn);
    const accept = Promise.withResolvers<DenoTlsConn>();
    this.#accepts.push(accept);
    return accept.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#serving.close();
    for (const conn of this.#ready.splice(0)) conn.close();
    for (const accept of this.#accepts.splice(0)) accept.reject(closedError("Listener"));
  }

  ref(): void {
    this.#serving.ref();
  }

  unref(): void {
    this.#serving.unref();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<DenoTlsConn> {
    try {
      while (!this.#isClosed) {
        const conn = await this.accept().catch(() => undefined);
        if (conn) yield conn;
      }
    } finally {
      this.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #add(conn: DenoTlsConn): void {
    const accept = this.#accepts.shift();
    if (accept) accept.resolve(conn);
    else if (this.#isClosed) conn.close();
    else this.#ready.push(conn);
  }
}

/** Opens a front for TLS on Deno: it makes the handshakes by the acceptors of the state. */
function openTlsFront(
  state: TlsState,
  address: ListenAddress,
  onSecure: HandshakingOptions["onSecure"],
  options: DenoAcceptOptions & FrontOptions,
): Promise<ServingGenerations<DenoTlsGeneration>> {
  const { handshakeTimeoutMs, onClientError } = options;
  return Front.open<DenoTlsGeneration>(state, {
    acceptsByState: true,
    listen: listenOn(address),
    async start(acceptor) {
      await proveTlsConfig(acceptor.config);
      const accept = (client: Socket) => acceptor.accept(client, { handshakeTimeoutMs });
      // There is no native server: connections go from the backend to accept().
      return handshakingBackend(undefined as never, { accept, onSecure, onClientError });
    },
  }, options);
}
