import type { ServerHttp2Session } from "node:http2";
import type { Server, TLSSocket } from "node:tls";
import { admissionRefusal, ClientVerification, resetConnection } from "../accept/client_verification.ts";
import type { Follower, TlsSwap } from "../accept/follower.ts";
import { type CurrentConfig, type Generation, LiveConnections } from "../accept/live_connections.ts";
import { failure, runtimeFailure } from "../accept/handshake_failure.ts";
import { addFollower, type Shared, sharedBy, type TlsState } from "../accept/tls_state.ts";
import { serverOptions } from "../config/server_options.ts";
import { requireOneKey, type TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError } from "../errors.ts";
import { settingsOf } from "../node_internals/kept_options.ts";
import { replaceMethod } from "../node_internals/listeners.ts";
import { hideKey } from "../node_internals/sockets.ts";
import { requireVersion, unsupported } from "../unsupported.ts";
import { type Attachment, type AttachOptions, reportTlsError } from "./attachment.ts";
import { EnteringConnection } from "./entering_connection.ts";
import { requireOneServer } from "./fastify_servers.ts";
import { InheritedOptions, requireInheritable } from "./inherited_options.ts";

/** The first versions whose `setSecureContext()` is not a silent no-op. */
const OLDEST = { bun: "1.4.3", deno: "2.8.0" };

/** Whether a server has a method that replaces its context. `https` servers of Bun have none. */
export function canChangeContext(server: Server): boolean {
  return typeof server.setSecureContext === "function";
}

/**
 * A server whose context is replaced at each swap. It serves Bun, whose servers do not accept in JavaScript.
 *
 * Invariant: all configurations of the state request client certificates and offer protocols as the server does,
 * because these two cannot be changed. A client reaches the application only if it satisfies the configuration at the
 * begin of its handshake and the configuration at its end.
 */
export class ContextServer implements Attachment, Follower {
  readonly mechanism = "context";
  readonly mechanismReason = "the runtime accepts outside of JavaScript; its servers can replace their context";
  readonly ready = Promise.resolve();
  readonly onTlsError: AttachOptions["onTlsError"];
  readonly #server: Server;
  readonly #inherited: InheritedOptions;
  readonly #shared: Shared;
  readonly #connections: LiveConnections;
  /** The configuration that was current when each connection was accepted. */
  readonly #configAt = new WeakMap<object, CurrentConfig>();
  readonly #emit: Server["emit"];
  #current!: CurrentConfig;
  readonly #entering = new EnteringConnection();
  #disposables: Disposable[] = [];

  constructor(state: TlsState, server: Server, options: AttachOptions) {
    requireVersion("attach to server", OLDEST, "use state.acceptor()");
    if (options.handshakeTimeoutMs !== undefined || options.noDelay !== undefined) {
      const option = options.noDelay === undefined ? "handshakeTimeoutMs" : "noDelay";
      throw unsupported("attach to server", `'${option}' cannot be set; create the server with it`);
    }
    const config = state.current();
    this.onTlsError = options.onTlsError;
    this.#server = server;
    this.#shared = sharedBy(state);
    this.#connections = new LiveConnections(this.#shared, () => this.#current);
    requireInheritable(server, config);
    this.#inherited = new InheritedOptions(server, config);
    this.requireServable(config);
    this.#apply(config, state.generation);
    const { emit } = server;
    this.#emit = emit;
    this.#disposables = [
      // Only `emit` sees every connection before the listeners of the application.
      replaceMethod(server, "emit", this.#intercept as Server["emit"]),
      addFollower(state, this),
    ];
  }

  get generations(): readonly Generation[] {
    return this.#connections.generations;
  }

  /** Judges the clients of the current configuration. */
  get verification(): ClientVerification | undefined {
    return this.#current.verification;
  }

  get isAttached(): boolean {
    return this.#disposables.length > 0;
  }

  requireServable(next: TlsConfig): void {
    requireOneServer(this.#server);
    const { requestCert, rejectUnauthorized, ALPNProtocols } = settingsOf(this.#server);
    const options = serverOptions(next, requireOneKey(next, "attach to server", "use state.acceptor() with node:http"));
    const isSame = requestCert === options.requestCert &&
      (!requestCert || rejectUnauthorized === options.rejectUnauthorized) &&
      (!options.ALPNProtocols || String(ALPNProtocols) === String(options.ALPNProtocols));
    if (isSame) return;
    throw unsupported(
      "attach to server",
      "a server cannot change its client authentication or ALPN; create a new one with state.tls",
    );
  }

  requireAlpnChallenges(): void {
    throw unsupported("answer ALPN challenge", "its servers choose their certificate themselves; use state.acceptor()");
  }

  follow({ config, generation }: TlsSwap): void {
    this.#apply(config, generation);
    this.#connections.swapped();
  }

  [Symbol.dispose](): void {
    for (const disposable of this.#disposables) disposable[Symbol.dispose]();
    this.#disposables = [];
  }

  #apply(config: TlsConfig, generation: number): void {
    const { clientAuth } = config;
    // Comes first, so that no client is accepted by the old trust if the runtime refuses the context.
    const verification = clientAuth && new ClientVerification(clientAuth, this.#shared.verifiedClients);
    this.#current = { config, generation, verification };
    try {
      this.#server.setSecureContext(this.#inherited.with(config));
      hideKey(this.#server);
    } catch (cause) {
      const message = "Cannot give TLS config to server: the runtime refuses it";
      throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause });
    }
  }

  readonly #intercept = (event: string, ...args: unknown[]): boolean => {
    const pass = () => Reflect.apply(this.#emit, this.#server, [event, ...args]);
    if (!this.isAttached) return pass();
    if (event === "secureConnection") return this.#enter(args[0] as TLSSocket, pass);
    if (event === "connection") this.#configAt.set(args[0] as object, this.#current);
    if (event === "tlsClientError") {
      reportTlsError(this, runtimeFailure(args[0] as Error, args[1] as TLSSocket));
    }
    if (event === "session") this.#entering.noteSession(args[0] as ServerHttp2Session);
    return pass();
  };

  /** Gives a client to the application, or refuses the client. Returns what `emit()` of the server returns. */
  #enter(secure: TLSSocket, pass: () => boolean): boolean {
    const accepted = this.#configAt.get(secure) ?? this.#current;
    const reason = this.#refusal(hideKey(secure), accepted);
    if (reason !== undefined) {
      this.#refuse(secure, reason);
      return true;
    }
    this.#connections.add(secure, accepted);
    return this.#entering.give(secure, pass);
  }

  #refuse(secure: TLSSocket, reason: string): void {
    resetConnection(secure);
    const error = failure("CLIENT_UNAUTHORIZED", reason);
    reportTlsError(this, error);
    // After the reset, because listeners destroy the socket, and the connection would end without a reset.
    setImmediate(() => Reflect.apply(this.#emit, this.#server, ["tlsClientError", error, secure]));
  }

  #refusal(secure: TLSSocket, { verification: own }: CurrentConfig): string | undefined {
    return admissionRefusal(secure, { ...this.#shared, own, current: () => this.#current.verification });
  }
}
