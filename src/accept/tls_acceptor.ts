import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { kindOf, requireOptions } from "../arguments.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { requireMs } from "../durations.ts";
import type { ClientHello } from "./client_hello.ts";
import { type HandshakeOptions, HandshakeServer, type Lineage } from "./handshake_server.ts";
import { createLineage } from "./lineage.ts";

/** The options of {@linkcode TlsAcceptor.accept}. */
export interface AcceptOptions {
  /** Aborts the handshake. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long the peer may take for the handshake.
   *
   * @default {10_000}
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Sends small packets at once (`TCP_NODELAY`), so that an answer does not wait for the acknowledgement of the one
   * before it. Ignored for sockets that are not TCP.
   *
   * @default {true}
   */
  readonly noDelay?: boolean | undefined;
  /**
   * Called with what the client offers and asks for, before the handshake. An error that it throws refuses the client.
   * The names and protocols are the client's claims, and may hold any characters.
   */
  readonly onClientHello?: ((hello: ClientHello) => void) | undefined;
}

const OPTION_NAMES = ["signal", "handshakeTimeoutMs", "noDelay", "onClientHello"];

/** The handshakes of an acceptor. */
export let handshakesOf: (acceptor: TlsAcceptor) => HandshakeServer;

/**
 * A snapshot of a `TlsState`: it keeps the configuration that was current when `acceptor()` returned it.
 *
 * A server takes one acceptor for each accepted connection, so that a swap changes the next connection and no other.
 * Invariant: configuration and generation never change.
 */
export class TlsAcceptor {
  /** What connections are accepted with. */
  readonly config: TlsConfig;
  /** The generation that these connections belong to. */
  readonly generation: number;
  readonly #handshakes: HandshakeServer;

  static {
    handshakesOf = (acceptor) => acceptor.#handshakes;
  }

  /**
   * Makes an acceptor; `TlsState.acceptor()` gives the current one.
   *
   * @param config What to accept connections with.
   * @param generation Its number in the state that it belongs to.
   * @param lineage The generations of that state; its own if there is none.
   */
  constructor(config: TlsConfig, generation = 0, lineage?: Lineage) {
    this.config = config;
    this.generation = generation;
    this.#handshakes = new HandshakeServer(config, lineage ?? createLineage(() => this.#handshakes));
  }

  /**
   * Makes the TLS handshake as the server.
   *
   * Resolves when the handshake is complete **and** the client satisfies the client authentication of this configuration
   * and of the one that is current by then. Otherwise rejects and closes the connection. Always catch the rejection, or
   * one bad peer ends the process.
   *
   * Accepts TCP sockets, unix sockets and any other `Duplex`. For STARTTLS, first give back with `socket.unshift(bytes)`
   * the bytes that were read too far. A `Duplex` that is not a `net.Socket` costs a context of its own and does not
   * resume sessions.
   *
   * With several certified keys the client gets the one that is for the name it asks for and that it can verify. Only
   * then, with `onClientHello`, and while `TlsState.answerAlpnChallenge()` waits, is its first message read beforehand.
   *
   * An `"error"` of the returned socket closes the connection, also without a listener (RFC 8446 section 6.2). To close
   * the connection, destroy the returned socket only: destroying both sockets in one turn can crash Node.
   *
   * @param socket The accepted connection. It belongs to the acceptor from here on.
   * @param options A signal, a time limit, and whether small packets are sent at once.
   * @returns The encrypted connection.
   * @throws {TlsReloadError} `HANDSHAKE_FAILED`, `HANDSHAKE_TIMEOUT`, `CLIENT_UNAUTHORIZED`, or `CHALLENGE_ANSWERED`; the
   * reason of the signal if it is aborted.
   * @throws {TypeError} If the socket is not a `Duplex`, or an option is unknown or is none of its allowed values.
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
    return new Promise((resolve, reject) => {
      if (typeof socket?.destroy !== "function" || typeof socket.write !== "function") {
        throw new TypeError(`Cannot accept connection: 'socket' must be a Duplex: ${kindOf(socket)}`);
      }
      try {
        this.#handshakes.begin(socket, checked(options), { succeed: resolve, fail: reject });
      } catch (error) {
        socket.destroy();
        throw error;
      }
    });
  }
}

function checked(options: AcceptOptions): HandshakeOptions {
  requireOptions("accept()", options, OPTION_NAMES);
  const { signal, handshakeTimeoutMs = 10_000, noDelay = true, onClientHello } = options;
  requireMs("handshakeTimeoutMs", handshakeTimeoutMs);
  return { signal, handshakeTimeoutMs, noDelay, onClientHello };
}
