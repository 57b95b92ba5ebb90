import type { ServerHttp2Session } from "node:http2";
import { Server as HttpsServer } from "node:https";
import type { Server, TLSSocket } from "node:tls";
import { admissionRefusal, ClientVerification } from "../accept/client_verification.ts";
import { LiveConnections } from "../accept/live_connections.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { Shared } from "../accept/tls_state.ts";
import { takesTrustAway } from "../accept/trust.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { Generation } from "../native/native_server.ts";
import { hideKey } from "../node_internals/sockets.ts";
import { EnteringConnection } from "./entering_connection.ts";

/**
 * The clients of a server of Bun whose generations hand the socket on.
 *
 * Invariant: a client reaches the application only if the configuration admits it that its server has, and the one that
 * is current when its handshake ends. `https` servers of Bun do not show the certificate of a client: there the server
 * has verified it, and once trust is taken away, no handshake of an earlier generation succeeds any more.
 */
export class HandoffClients {
  readonly #server: Server;
  readonly #shared: Shared;
  readonly #newest: () => TlsAcceptor;
  readonly #verifications = new WeakMap<TlsConfig, ClientVerification>();
  /** Those of `http2` and `tls` servers, which show the certificates of their clients. */
  readonly #connections: LiveConnections;
  readonly #entering = new EnteringConnection();

  constructor(server: Server, shared: Shared, newest: () => TlsAcceptor) {
    this.#server = server;
    this.#shared = shared;
    this.#newest = newest;
    this.#connections = new LiveConnections(shared, () => {
      const { config, generation } = newest();
      return { config, generation, verification: this.verificationOf(config) };
    });
  }

  /** The generations that hold connections, as far as clients show their certificates. */
  get generations(): readonly Generation[] {
    return this.#connections.generations;
  }

  /** Judges live clients by the newest configuration. */
  swapped(): void {
    this.#connections.swapped();
  }

  /** How a configuration judges clients, if it asks for their certificates. */
  verificationOf(config: TlsConfig): ClientVerification | undefined {
    const { clientAuth } = config;
    if (!clientAuth) return undefined;
    const known = this.#verifications.get(config) ?? new ClientVerification(clientAuth, this.#shared.verifiedClients);
    this.#verifications.set(config, known);
    return known;
  }

  /** Why a client may not reach the application, if it may not. */
  refusal(secure: TLSSocket, config: TlsConfig): string | undefined {
    const current = () => this.#newest().config;
    if (this.#server instanceof HttpsServer) {
      return takesTrustAway(config, current()) ? "trust was taken away during its handshake" : undefined;
    }
    hideKey(secure);
    const own = this.verificationOf(config);
    return admissionRefusal(secure, { ...this.#shared, own, current: () => this.verificationOf(current()) });
  }

  /** Gives a client to the application, and judges it again after each swap. */
  enter(secure: TLSSocket, acceptor: TlsAcceptor, give: () => void): void {
    this.#connections.add(secure, acceptor);
    this.#entering.give(secure, give);
  }

  /** Notes the session of the connection that the application is being given. */
  noteSession(session: ServerHttp2Session): void {
    this.#entering.noteSession(session);
  }
}
