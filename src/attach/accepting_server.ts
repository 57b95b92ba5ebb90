import type { ServerHttp2Session } from "node:http2";
import process from "node:process";
import type { Duplex } from "node:stream";
import { createSecureContext, type Server, type TLSSocket } from "node:tls";
import type { ClientVerification } from "../accept/client_verification.ts";
import type { Follower, TlsSwap } from "../accept/follower.ts";
import { HandshakeServer, type Lineage } from "../accept/handshake_server.ts";
import { createLineage } from "../accept/lineage.ts";
import type { Generation } from "../accept/live_connections.ts";
import type { HandshakeOptions } from "../accept/pending_handshake.ts";
import { addFollower, sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError } from "../errors.ts";
import { handshakeTimeoutOf, settingsOf } from "../node_internals/kept_options.ts";
import { keepAccepting, replaceAcceptingListener, replaceMethod } from "../node_internals/listeners.ts";
import { hideKey } from "../node_internals/sockets.ts";
import { unsupported } from "../unsupported.ts";
import { type Attachment, type AttachOptions, reportTlsError } from "./attachment.ts";
import { EnteringConnection } from "./entering_connection.ts";
import { requireOneServer } from "./fastify_servers.ts";
import { InheritedOptions, requireInheritable } from "./inherited_options.ts";
import { SessionContexts } from "./session_contexts.ts";
import { TicketKeys } from "./ticket_keys.ts";

const DEFAULT_TIMEOUT_MS = 10_000;
/** At least as long as the queue that the server asked for; the system may allow less. */
const BACKLOG = 4096;
/** Events of a handshake that a runtime emits only if the server has a listener. */
const HANDSHAKE_EVENTS = ["keylog", "newSession", "resumeSession", "OCSPRequest"] as const;
/** Methods that would replace the configuration of the state. */
const REFUSED_METHODS = ["setSecureContext", "addContext"] as const;

type Emitter = { emit(event: string, ...args: unknown[]): boolean };

/**
 * A server whose connections are accepted by the generations of its state. A listener of this class replaces the
 * `"connection"` listener of the runtime, and emits the same events.
 *
 * Invariant: a connection belongs to the generation that is current when it is accepted. The server emits
 * `"secureConnection"` only for accepted clients. Listeners of the user are never replaced.
 */
export class AcceptingServer implements Attachment, Follower {
  readonly mechanism = "acceptor";
  readonly mechanismReason = "the runtime accepts connections in JavaScript";
  readonly ready = Promise.resolve();
  readonly onTlsError: AttachOptions["onTlsError"];
  readonly #server: Server;
  readonly #handshakeOptions: HandshakeOptions;
  readonly #inherited: InheritedOptions;
  readonly #ticketKeys: TicketKeys;
  readonly #sessionContexts = new SessionContexts();
  readonly #lineage: Lineage;
  #handshakes: HandshakeServer;
  readonly #entering = new EnteringConnection();
  #disposables: Disposable[] = [];

  constructor(state: TlsState, server: Server, options: AttachOptions) {
    const config = state.current();
    const { handshakeTimeoutMs = handshakeTimeoutOf(server) ?? DEFAULT_TIMEOUT_MS, noDelay = true } = options;
    requireInheritable(server, config);
    this.onTlsError = options.onTlsError;
    this.#server = server;
    this.#handshakeOptions = { handshakeTimeoutMs, noDelay };
    this.#inherited = new InheritedOptions(server, config);
    this.requireServable(config);
    this.#ticketKeys = new TicketKeys(server, config);
    this.#lineage = createLineage(() => this.#handshakes, sharedBy(state));
    this.#handshakes = this.#handshakesOf(config, state.generation);
    hideKey(server);
    this.#disposables = [
      replaceAcceptingListener(server, (socket) => this.#accept(socket)),
      ...REFUSED_METHODS.map((name) => replaceMethod(server, name, () => refuseCall(name))),
      listenTo(server, "session", (session) => this.#entering.noteSession(session)),
      ...process.versions["deno"] ? [keepAccepting(server, BACKLOG)] : [],
      addFollower(state, this),
    ];
  }

  get generations(): readonly Generation[] {
    return this.#lineage.connections.generations;
  }

  /** Judges the clients of the current generation. */
  get verification(): ClientVerification | undefined {
    return this.#handshakes.verification;
  }

  get isAttached(): boolean {
    return this.#disposables.length > 0;
  }

  requireServable(next: TlsConfig): void {
    requireOneServer(this.#server);
    // A configuration is proved already, so only the options of the server can make it unusable.
    if (this.#inherited.isEmpty) return;
    const options = this.#inherited.with(next);
    try {
      // OpenSSL builds a context that supports no version at all.
      if (options.minVersion! > options.maxVersion!) throw new Error("the server's maxVersion is too low");
      createSecureContext(options);
    } catch (cause) {
      const message = "Cannot give TLS config to server: the options that the server was created with do not fit";
      throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause });
    }
  }

  follow({ config, generation }: TlsSwap): void {
    this.#ticketKeys.follow(config);
    this.#lineage.servers.retain(config.certifiedKeys);
    this.#handshakes = this.#handshakesOf(config, generation);
    this.#lineage.connections.swapped();
  }

  [Symbol.dispose](): void {
    for (const disposable of this.#disposables) disposable[Symbol.dispose]();
    this.#disposables = [];
  }

  #handshakesOf(config: TlsConfig, generation: number): HandshakeServer {
    return new HandshakeServer(config, generation, this.#lineage, {
      options: (config, certifiedKey) => {
        const { pauseOnConnect } = settingsOf(this.#server);
        const options = { ...this.#inherited.with(config, certifiedKey), pauseOnConnect };
        return this.#sessionContexts.with(options, config, certifiedKey);
      },
      onCreated: (inner) => this.#forwardErrors(inner),
      onConnection: (inner) => {
        this.#ticketKeys.giveTo(inner);
        this.#forwardHandshakeEvents(inner);
      },
    });
  }

  #accept(socket: Duplex): void {
    this.#handshakes.begin(socket, this.#handshakeOptions, {
      succeed: (secure) => this.#enter(this.#claim(secure)),
      fail: (error, secure) => this.#refuse(error as TlsReloadError, secure),
    });
  }

  #enter(secure: TLSSocket): void {
    this.#entering.give(secure, () => this.#emit("secureConnection", secure));
  }

  #refuse(error: TlsReloadError, secure: TLSSocket | undefined): void {
    if (error.code === "CHALLENGE_ANSWERED") return;
    // The runtime has emitted its own errors, including the time limit. Only a refused client is new to the server.
    const isEmitted = error.cause !== undefined || error.code !== "CLIENT_UNAUTHORIZED";
    if (secure && !isEmitted) this.#emit("tlsClientError", error, this.#claim(secure));
    reportTlsError(this, error);
  }

  /** Emits the errors of an inner server on the server of the user. */
  #forwardErrors(inner: Server): void {
    inner.on("tlsClientError", (error, secure) => this.#emit("tlsClientError", error, this.#claim(secure)));
    // Node emits the error that a listener of "newSession" throws.
    inner.on("error", (error) => this.#emit("error", error));
  }

  #forwardHandshakeEvents(inner: Server): void {
    for (const event of HANDSHAKE_EVENTS) {
      const isWanted = this.#server.listenerCount(event) > 0;
      const isForwarded = inner.listenerCount(event) > 0;
      if (isWanted && !isForwarded) (inner as NodeJS.EventEmitter).on(event, (...args) => this.#emit(event, ...args));
      if (!isWanted && isForwarded) inner.removeAllListeners(event);
    }
  }

  /** Sets the server of a socket to the server of the user, because `http2` reads that property. */
  #claim(secure: TLSSocket): TLSSocket {
    return Object.assign(secure, { server: this.#server });
  }

  #emit(event: string, ...args: unknown[]): boolean {
    return (this.#server as Emitter).emit(event, ...args);
  }
}

function refuseCall(name: string): never {
  throw unsupported(`call ${name}() of an attached server`, "its state decides what it serves; use state.swap()");
}

function listenTo(server: Server, event: string, listener: (session: ServerHttp2Session) => void): Disposable {
  const emitter: NodeJS.EventEmitter = server;
  emitter.on(event, listener);
  return { [Symbol.dispose]: () => void emitter.off(event, listener) };
}
