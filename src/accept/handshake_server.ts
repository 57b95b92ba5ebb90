import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createServer, type Server, type TlsOptions, type TLSSocket } from "node:tls";
import { serverOptions } from "../config/server_options.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { hideKey, socketUnder } from "../node_internals.ts";
import { admissionRefusal, ClientVerification, resetConnection, type VerifiedClients } from "./client_verification.ts";

/** What one handshake is made with. */
export interface HandshakeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly handshakeTimeoutMs: number;
  readonly noDelay: boolean;
}

/** Where a handshake ends. One of the two is called, once, in the same turn as the event of the runtime. */
export interface HandshakeOutcome {
  /** The client has entered. */
  succeed(secure: TLSSocket): void;
  /**
   * The handshake has failed or the client was refused; the connection is closed.
   *
   * @param error Ours, with the error of the runtime as its cause; or the reason of the signal.
   * @param secure The encrypted socket, if the runtime has made one.
   */
  fail(error: unknown, secure: TLSSocket | undefined): void;
}

/** The generations that a {@linkcode HandshakeServer} belongs to: those of a state, or of an attached server. */
export interface Lineage {
  readonly verifiedClients: VerifiedClients;
  /** The generation that is current now. */
  current(): HandshakeServer;
}

/** One handshake in progress. */
interface Pending {
  /** Why it was ended by us, once it is. */
  refusal: TlsReloadError | undefined;
  succeed(secure: TLSSocket): void;
  fail(error: unknown, secure?: TLSSocket): void;
}

/** What the `tls.Server` of a {@linkcode HandshakeServer} is made with. */
export interface ServerSetup {
  /** Its options, asked for when it is made. */
  options(config: TlsConfig): TlsOptions;
  /** Called with the server before any connection, so that its listeners are called before those of the handshakes. */
  prepare(server: Server): void;
}

const PLAIN_SETUP: ServerSetup = { options: serverOptions, prepare: () => {} };

/**
 * Makes the handshakes of one configuration with a `tls.Server` that never listens, because `tls.Server` verifies
 * clients, which a bare `TLSSocket` leaves to its owner.
 *
 * Invariant: a handshake ends once: it succeeds after the client has satisfied this configuration and the current one,
 * or its connection is closed. A handshake that has ended is not kept. The server and the client verification are made
 * when the first connection needs them.
 */
export class HandshakeServer {
  readonly config: TlsConfig;
  readonly #lineage: Lineage;
  readonly #setup: ServerSetup;
  readonly #pending = new WeakMap<Duplex, Pending>();
  #server: Server | undefined;
  #verification: ClientVerification | undefined;

  constructor(config: TlsConfig, lineage: Lineage, setup: ServerSetup = PLAIN_SETUP) {
    this.config = config;
    this.#lineage = lineage;
    this.#setup = setup;
  }

  /** Judges the clients of this configuration; `undefined` if it does not ask for certificates. */
  get verification(): ClientVerification | undefined {
    const { clientAuth } = this.config;
    if (clientAuth) this.#verification ??= new ClientVerification(clientAuth, this.#lineage.verifiedClients);
    return this.#verification;
  }

  /** The `tls.Server`, made at the first call. */
  get server(): Server {
    this.#server ??= this.#createServer(socketUnder);
    return this.#server;
  }

  /**
   * Begins a handshake.
   *
   * @param socket The connection. It belongs to the handshake from here on.
   * @param options Its limits.
   * @param outcome Where it ends.
   */
  begin(socket: Duplex, options: HandshakeOptions, outcome: HandshakeOutcome): void {
    const { signal, handshakeTimeoutMs, noDelay } = options;
    let isPending = true;
    const end = () => {
      if (!isPending) return false;
      isPending = false;
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.removeListener("close", onClose);
      this.#pending.delete(socket);
      return true;
    };
    const pending: Pending = {
      refusal: undefined,
      succeed: (secure) => {
        if (end()) outcome.succeed(secure);
      },
      fail: (error, secure) => {
        if (!end()) return;
        socket.destroy();
        outcome.fail(error, secure);
      },
    };
    const onAbort = () => pending.fail(signal?.reason);
    // The event of the runtime, if there is one, comes after the close of the socket and says more.
    const onClose = () => {
      const error = pending.refusal ?? failure("HANDSHAKE_FAILED", "the peer closed the connection", socket.errored);
      setImmediate(() => pending.fail(error));
    };
    const onTimeout = () => {
      pending.refusal = failure("HANDSHAKE_TIMEOUT", `no handshake within ${handshakeTimeoutMs} ms`);
      // The runtime emits the error together with the encrypted socket.
      socket.destroy(pending.refusal);
    };
    const timer = handshakeTimeoutMs < Infinity ? setTimeout(onTimeout, handshakeTimeoutMs) : undefined;

    this.#pending.set(socket, pending);
    socket.on("error", ignore).once("close", onClose);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
    else if (socket.destroyed) onClose();
    else this.#start(socket, noDelay, pending);
  }

  #start(socket: Duplex, noDelay: boolean, pending: Pending): void {
    try {
      if (noDelay && socket instanceof Socket) socket.setNoDelay(true);
      // Nothing leads from an encrypted socket to a Duplex under it, so a Duplex gets a server of its own.
      const server = socket instanceof Socket ? this.server : this.#createServer(() => socket);
      server.emit("connection", socket);
    } catch (cause) {
      pending.fail(failure("HANDSHAKE_FAILED", "the runtime refuses the connection", cause));
    }
  }

  #createServer(under: (secure: TLSSocket) => Duplex | undefined): Server {
    const pendingOf = (secure: TLSSocket) => this.#pending.get(under(secure)!);
    // No time limit but that of begin(): Deno keeps every socket whose handshake has failed until the server's ends.
    const server = hideKey(createServer({ ...this.#setup.options(this.config), handshakeTimeout: -1 }));
    this.#setup.prepare(server);
    server.on("secureConnection", (secure) => this.#admit(secure, pendingOf(secure)));
    server.on("tlsClientError", (cause: NodeJS.ErrnoException, secure) => {
      const pending = pendingOf(secure);
      pending?.fail(pending.refusal ?? failureOf(cause, secure), secure);
    });
    return server;
  }

  #admit(secure: TLSSocket, pending: Pending | undefined): void {
    hideKey(secure).on("error", () => closeAfterError(secure));
    const reason = admissionRefusal(secure, this.verification, this.#lineage.current().verification);
    if (reason === undefined && pending) {
      pending.succeed(secure);
      return;
    }
    resetConnection(secure);
    if (reason === undefined) return;
    // After the reset, because listeners destroy the socket, and the connection would end without a reset.
    setImmediate(() => pending?.fail(failure("CLIENT_UNAUTHORIZED", reason), secure));
  }
}

/** A peer may end a connection in any way at any time. What follows arrives as `"close"`. */
function ignore(): void {}

/**
 * RFC 8446 section 6.2: a fatal error ends the connection. The runtimes emit the error of a record that does not decrypt,
 * and leave the socket open.
 */
function closeAfterError(secure: TLSSocket): void {
  // Deferred: the runtime has not sent its alert yet, and destroying inside the event crashes Node.
  setImmediate(() => secure.destroy());
}

function failureOf(cause: NodeJS.ErrnoException, { authorizationError }: TLSSocket): TlsReloadError {
  if (cause.code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") {
    return failure("CLIENT_UNAUTHORIZED", "the client sent no certificate", cause);
  }
  return authorizationError
    ? failure("CLIENT_UNAUTHORIZED", String(authorizationError), cause)
    : failure("HANDSHAKE_FAILED", cause.code ?? cause.message, cause);
}

function failure(code: TlsReloadErrorCode, reason: string, cause?: unknown): TlsReloadError {
  return new TlsReloadError(code, `Cannot accept connection: ${reason}`, { cause });
}
