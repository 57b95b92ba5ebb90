import type { ServerHttp2Session } from "node:http2";
import { Server as HttpsServer } from "node:https";
import type { Server, TLSSocket } from "node:tls";
import { type ClientVerification, resetConnection } from "../accept/client_verification.ts";
import type { Follower } from "../accept/follower.ts";
import { failure, runtimeFailure } from "../accept/handshake_failure.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { addFollower, type Shared, sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { TlsReloadError } from "../errors.ts";
import type { HandoffPolicy } from "../native/handoff_generations.ts";
import { handoffExclusion } from "../native/handoff_support.ts";
import type { Generation } from "../native/native_server.ts";
import { hideKey } from "../node_internals/sockets.ts";
import { unsupported } from "../unsupported.ts";
import { warn } from "../warnings.ts";
import { type Attachment, type AttachOptions, reportTlsError } from "./attachment.ts";
import { canChangeContext, ContextServer } from "./context_server.ts";
import { requireServableLike } from "./forwarding_runtime.ts";
import type { AttachmentContext, ForwardingServer } from "./forwarding_server.ts";
import { HandoffClients } from "./handoff_clients.ts";
import { InheritedOptions, requireInheritable } from "./inherited_options.ts";
import { UserServer } from "./user_server.ts";

const userServers = new WeakMap<Server, UserServer>();

/**
 * Why the handoff cannot serve a server, as far as it is known before it was tried.
 *
 * @returns The reason, or `undefined` if it can, or may.
 */
export function exclusionOf(server: Server): string | undefined {
  if (typeof server.address() === "string") return "only TCP sockets can be handed over";
  return handoffExclusion();
}

/**
 * A server of Bun that is replaced at each swap by one like it: the listening socket passes from the one to the next.
 * Which clients reach the application is decided by {@linkcode HandoffClients}.
 *
 * Invariant: while it is attached, it follows the state by its generations or by `#fallback`, never by both.
 */
export class HandoffServer implements Attachment, Follower, AttachmentContext {
  readonly inherited: InheritedOptions;
  readonly handshakeTimeoutMs: number | undefined;
  readonly hasAllowClient: boolean;
  readonly ready: Promise<void>;
  readonly onTlsError: AttachOptions["onTlsError"];
  readonly #state: TlsState;
  readonly #server: Server;
  readonly #options: AttachOptions;
  readonly #shared: Shared;
  readonly #clients: HandoffClients;
  readonly #userServer: UserServer;
  /** Follows the state if the handoff cannot be used. */
  #fallback: ContextServer | undefined;
  #following: Disposable | undefined;
  /** The configuration that goes on serving when the attachment is disposed of. */
  #last: TlsAcceptor | undefined;
  #reason = "the listening socket passes to a server of each configuration";

  constructor(state: TlsState, server: Server, options: AttachOptions) {
    const config = state.current();
    requirePossible(server, options);
    requireInheritable(server, config);
    this.onTlsError = options.onTlsError;
    this.#state = state;
    this.#server = server;
    this.#options = options;
    this.#shared = sharedBy(state);
    this.#clients = new HandoffClients(server, this.#shared, () => this.newest);
    this.inherited = new InheritedOptions(server, config);
    this.handshakeTimeoutMs = options.handshakeTimeoutMs;
    this.hasAllowClient = this.#shared.allowClient !== undefined;
    requireServableLike(server, config, this);
    hideKey(server);
    this.#userServer = userServers.get(server) ?? new UserServer(server, this);
    userServers.set(server, this.#userServer);
    this.#userServer.use(this);
    server.on("session", this.#onSession);
    this.#following = addFollower(state, this);
    this.ready = this.#userServer.takeOver();
    this.ready.catch((error) => this.#failed(error));
  }

  get mechanism(): "handoff" | "context" {
    return this.#fallback ? "context" : "handoff";
  }

  get mechanismReason(): string {
    return this.#reason;
  }

  /** An `https` server of Bun does not show them. */
  get hidesClients(): boolean {
    return this.#server instanceof HttpsServer;
  }

  /** Judges the clients of the current configuration. */
  get verification(): ClientVerification | undefined {
    return this.#clients.verificationOf(this.#state.current());
  }

  get isAttached(): boolean {
    return this.#fallback?.isAttached ?? this.#following !== undefined;
  }

  get generations(): readonly Generation[] {
    if (this.#fallback) return this.#fallback.generations;
    return this.#server instanceof HttpsServer ? this.#userServer.generations : this.#clients.generations;
  }

  requireServable(next: TlsConfig): void {
    if (this.#userServer.isTakingOver) {
      throw unsupported("swap", "the server still serves as it was created; await 'ready' of its attachment first");
    }
    this.#userServer.requireServable(next);
  }

  requireAlpnChallenges(): void {
    throw unsupported("answer ALPN challenge", "its servers choose their certificate themselves; use state.acceptor()");
  }

  follow(): void {
    this.#userServer.follow();
    this.#clients.swapped();
  }

  [Symbol.dispose](): void {
    this.#fallback?.[Symbol.dispose]();
    if (!this.#following) return;
    this.#last = this.#state.acceptor();
    this.#following[Symbol.dispose]();
    this.#following = undefined;
    this.#server.removeListener("session", this.#onSession);
    this.#userServer.release();
  }

  get policy(): HandoffPolicy {
    return this.#shared;
  }

  get newest(): TlsAcceptor {
    return this.#last ?? this.#state.acceptor();
  }

  admit(secure: TLSSocket, { acceptor, knowsClients }: ForwardingServer, give: () => void): void {
    const reason = this.#clients.refusal(secure, acceptor.config);
    if (reason !== undefined) this.#refuse(secure, reason);
    else if (knowsClients) this.#clients.enter(secure, acceptor, give);
    else give();
  }

  reportFailure(cause: Error, secure: TLSSocket): void {
    reportTlsError(this, runtimeFailure(cause, secure));
  }

  report(error: unknown): void {
    const report = this.onTlsError ?? warn;
    report(error as TlsReloadError);
  }

  fallBack(reason: string): void {
    if (this.#options.mechanism === "handoff" || !canChangeContext(this.#server)) {
      throw unsupported("attach to server", `the handoff cannot be used: ${reason}`);
    }
    this.#following?.[Symbol.dispose]();
    this.#following = undefined;
    this.#fallback = new ContextServer(this.#state, this.#server, this.#options);
    this.#reason = `context: ${reason}`;
  }

  readonly #onSession = (session: ServerHttp2Session) => this.#clients.noteSession(session);

  #refuse(secure: TLSSocket, reason: string): void {
    // An https server would go on with the first request.
    if (this.#server instanceof HttpsServer) secure.destroy();
    else resetConnection(secure);
    const error = failure("CLIENT_UNAUTHORIZED", reason);
    reportTlsError(this, error);
    // After the reset, because listeners destroy the socket, and the connection would end without a reset.
    setImmediate(() => this.#userServer.emit("tlsClientError", error, secure));
  }

  #failed(error: unknown): void {
    this[Symbol.dispose]();
    // A server that was closed meanwhile needs no certificate.
    if (this.#server.listening) warn(error);
  }
}

/** Refuses options that the handoff does not have. */
function requirePossible(server: Server, { noDelay, handshakeTimeoutMs }: AttachOptions): void {
  if (noDelay === false) throw unsupported("attach to server", "the handoff always sends small packets at once");
  if (server instanceof HttpsServer && handshakeTimeoutMs !== undefined) {
    throw unsupported("attach to server", "the time limit of an https server of Bun cannot be set");
  }
}
