import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { HandshakeServer, type Lineage } from "../accept/handshake_server.ts";
import { createLineage } from "../accept/lineage.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { addFollower, sharedBy, type TlsState } from "../accept/tls_state.ts";
import { serverOptions } from "../config/server_options.ts";
import { encodeProtocols } from "../config/settings.ts";

/** Offered where the configuration names no protocols, as by `Deno.serve`. */
const HTTP_PROTOCOLS = encodeProtocols(["h2", "http/1.1"]);
const DEFAULT_TIMEOUT_MS = 10_000;

/** Makes the handshakes of an HTTP server: as the acceptors of a state do, with the protocols of HTTP by default. */
export class HttpHandshakes {
  readonly #lineage: Lineage;
  readonly #servers = new WeakMap<TlsAcceptor, HandshakeServer>();
  readonly #timeoutMs: number;
  readonly #following: Disposable;

  constructor(state: TlsState, handshakeTimeoutMs = DEFAULT_TIMEOUT_MS) {
    const shared = sharedBy(state);
    // Only the front knows how to end what is relayed.
    const drain = { ...shared.drain, when: shared.drain.when === "never" ? "never" : "trust" } as const;
    this.#lineage = createLineage(() => this.#serverOf(state.acceptor()), { ...shared, drain });
    const { connections } = this.#lineage;
    this.#following = addFollower(state, { requireServable: () => {}, follow: () => connections.swapped() });
    this.#timeoutMs = handshakeTimeoutMs;
  }

  /** No client is accepted any more. */
  [Symbol.dispose](): void {
    this.#following[Symbol.dispose]();
  }

  accept(client: Socket, acceptor: TlsAcceptor): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const options = { handshakeTimeoutMs: this.#timeoutMs, noDelay: true };
      this.#serverOf(acceptor).begin(client, options, { succeed: resolve, fail: reject });
    });
  }

  #serverOf(acceptor: TlsAcceptor): HandshakeServer {
    const known = this.#servers.get(acceptor);
    if (known) return known;
    const server = new HandshakeServer(acceptor.config, acceptor.generation, this.#lineage, {
      options: (config, certifiedKey) => ({ ALPNProtocols: HTTP_PROTOCOLS, ...serverOptions(config, certifiedKey) }),
    });
    this.#servers.set(acceptor, server);
    return server;
  }
}
