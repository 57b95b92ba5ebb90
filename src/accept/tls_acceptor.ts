import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { ClientCheck, turnAway } from "./client_verification.ts";
import { TlsReloadError } from "../errors.ts";
import { requireMs } from "../durations.ts";
import { hideKey, serverOptions, type TlsConfig } from "../config/tls_config.ts";

/** What {@linkcode TlsAcceptor.accept} takes beside the connection. */
export interface AcceptOptions {
  /** Gives the handshake up. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long the peer may take for the handshake.
   *
   * @default {10_000}
   */
  readonly handshakeTimeoutMs?: number | undefined;
}

/** Ends one handshake, one way or the other; only the first call counts. */
interface Handshake {
  succeed(secure: TLSSocket): void;
  fail(error: unknown): void;
}

/**
 * A snapshot of a {@linkcode TlsState}: it keeps the configuration that was current when `acceptor()` gave it.
 *
 * A server takes one for each accepted connection, so that a swap changes the next connection and no other.
 */
export class TlsAcceptor {
  /** What connections are accepted with. */
  readonly config: TlsConfig;
  /** The generation that these connections belong to. */
  readonly generation: number;
  readonly #clientCheck: ClientCheck | undefined;
  readonly #handshakes = new WeakMap<Duplex, Handshake>();
  readonly #server: Server;

  /**
   * Makes an acceptor; {@linkcode TlsState.acceptor} gives the one that is current.
   *
   * @param config What to accept connections with.
   * @param generation Its number in the state that it belongs to.
   */
  constructor(config: TlsConfig, generation = 0) {
    this.config = config;
    this.generation = generation;
    this.#clientCheck = config.clientAuth && new ClientCheck(config.clientAuth);
    // No public property leads from a TLSSocket to the socket under it. All three runtimes set this one; where it
    // should ever be missing, handshakes time out and nobody gets in.
    this.#server = this.#createServer((secure) => (secure as TLSSocket & { _parent?: Duplex })._parent);
  }

  /**
   * Makes the TLS handshake as the server.
   *
   * Resolves when it is complete **and** the client satisfies the client authentication of the configuration. Rejects
   * otherwise and leaves nothing open. Always catch it, or one bad peer ends the process.
   *
   * Takes TCP sockets, unix sockets and any `Duplex`. For STARTTLS, first give back with `socket.unshift(bytes)` what
   * was read too far. A `Duplex` that is no `net.Socket` costs a context of its own and resumes no session.
   *
   * An `"error"` of the returned socket that nobody listens to closes it and does no more. To close the connection,
   * destroy the returned socket and leave the one below to it: Node can die of both being destroyed in one turn.
   *
   * @param socket The accepted connection; it belongs to the acceptor from here on.
   * @param options A signal and a time limit.
   * @returns The encrypted connection.
   * @throws {TlsReloadError} `HANDSHAKE_FAILED`, `HANDSHAKE_TIMEOUT`, or `CLIENT_UNAUTHORIZED`; what the signal was
   * aborted with, if it was.
   * @throws {TypeError} If the time limit is none that a timer keeps.
   *
   * @example
   * ```ts
   * import net from "node:net";
   * import { loadTlsConfig, TlsState } from "@x/tls-reload";
   *
   * const state = new TlsState(await loadTlsConfig("fullchain.pem", "privkey.pem"));
   * net.createServer(async (socket) => {
   *   try {
   *     const secure = await state.acceptor().accept(socket, { handshakeTimeoutMs: 5_000 });
   *     secure.end("hello\n");
   *   } catch (error) {
   *     console.warn("refused", error);
   *   }
   * }).listen(8443);
   * ```
   */
  accept(socket: Duplex, options: AcceptOptions = {}): Promise<TLSSocket> {
    const { signal, handshakeTimeoutMs = 10_000 } = options;
    try {
      requireMs("handshakeTimeoutMs", handshakeTimeoutMs);
    } catch (error) {
      socket.destroy();
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      let isOpen = true;
      const end = (settle: () => void) => {
        if (!isOpen) return;
        isOpen = false;
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        socket.removeListener("close", onClose);
        this.#handshakes.delete(socket);
        settle();
      };
      const succeed = (secure: TLSSocket) => end(() => resolve(secure));
      const fail = (error: unknown) =>
        end(() => {
          socket.destroy();
          reject(error);
        });
      const onAbort = () => fail(signal?.reason);
      // The runtime's own word, if it has one, comes after the end of the socket and says more.
      const onClose = () =>
        setImmediate(fail, refusal("HANDSHAKE_FAILED", "the peer closed the connection", socket.errored));
      const onTimeout = () => fail(refusal("HANDSHAKE_TIMEOUT", `no handshake within ${handshakeTimeoutMs} ms`));
      const timer = handshakeTimeoutMs < Infinity ? setTimeout(onTimeout, handshakeTimeoutMs) : undefined;

      this.#handshakes.set(socket, { succeed, fail });
      socket.on("error", ignore).once("close", onClose);
      signal?.addEventListener("abort", onAbort);
      if (signal?.aborted) onAbort();
      else if (socket.destroyed) onClose();
      else this.#start(socket, fail);
    });
  }

  #start(socket: Duplex, fail: Handshake["fail"]): void {
    try {
      const server = socket instanceof Socket ? this.#server : this.#createServer(() => socket);
      // A tls.Server that never listens: it verifies clients, which a bare TLSSocket leaves to its owner.
      server.emit("connection", socket);
    } catch (cause) {
      fail(refusal("HANDSHAKE_FAILED", "the runtime refuses it", cause));
    }
  }

  #createServer(under: (secure: TLSSocket) => Duplex | undefined): Server {
    const handshakeOf = (secure: TLSSocket) => this.#handshakes.get(under(secure)!);
    // No time limit but that of accept(): Deno keeps every socket whose handshake has failed until this one runs out.
    const server = hideKey(createServer({ ...serverOptions(this.config), handshakeTimeout: -1 }));
    server.on("secureConnection", (secure) => {
      hideKey(secure).on("error", ignore);
      const handshake = handshakeOf(secure);
      const reason = this.#clientCheck?.refusal(secure);
      // Deno calls a client authorised that nobody has asked for a certificate.
      if (!this.#clientCheck) secure.authorized = false;
      if (handshake && reason === undefined) return handshake.succeed(secure);
      turnAway(secure);
      if (reason !== undefined) setImmediate(() => handshake?.fail(refusal("CLIENT_UNAUTHORIZED", reason)));
    });
    server.on("tlsClientError", (cause: NodeJS.ErrnoException, secure) => {
      const { authorizationError } = secure;
      const reason = cause.code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
        ? "the client sent no certificate"
        : authorizationError && String(authorizationError);
      const error = reason
        ? refusal("CLIENT_UNAUTHORIZED", reason, cause)
        : refusal("HANDSHAKE_FAILED", cause.code ?? cause.message, cause);
      handshakeOf(secure)?.fail(error);
    });
    return server;
  }
}

/** A peer may end a connection in any way at any time; what follows from it arrives as `"close"`. */
function ignore(): void {}

function refusal(
  code: "HANDSHAKE_FAILED" | "HANDSHAKE_TIMEOUT" | "CLIENT_UNAUTHORIZED",
  reason: string,
  cause?: unknown,
): TlsReloadError {
  return new TlsReloadError(code, `Cannot accept connection: ${reason}`, { cause });
}
