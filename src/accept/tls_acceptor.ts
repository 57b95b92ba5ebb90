import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { kindOf, requireOptions, requireOptionTypes } from "../arguments.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { requireMs } from "../durations.ts";
import type { ClientHello } from "./client_hello.ts";
import { HandshakeServer, type Lineage } from "./handshake_server.ts";
import { createLineage } from "./lineage.ts";
import type { HandshakeOptions } from "./pending_handshake.ts";

/** The options of {@linkcode TlsAcceptor.accept}. */
export interface AcceptOptions {
  /** Aborts the handshake. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The time limit of the handshake.
   *
   * @default {10_000}
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Sends small packets at once (`TCP_NODELAY`), so that an answer does not wait for the acknowledgement of the
   * previous one. Ignored for sockets that are not TCP.
   *
   * @default {true}
   */
  readonly noDelay?: boolean | undefined;
  /**
   * Called with the ClientHello before the handshake. An error that the callback throws, or a promise that it returns,
   * refuses the client. The client can claim any names and protocols, with any characters.
   */
  readonly onClientHello?: ((hello: ClientHello) => void) | undefined;
}

const OPTION_NAMES = ["signal", "handshakeTimeoutMs", "noDelay", "onClientHello"];
const OPTION_TYPES = { signal: "an AbortSignal", noDelay: "a boolean", onClientHello: "a function" } as const;

/** The handshakes of an acceptor. */
export let handshakesOf: (acceptor: TlsAcceptor) => HandshakeServer;

/**
 * A snapshot of a `TlsState`: it keeps the configuration that was current when `acceptor()` returned it.
 *
 * A server gets the current acceptor for each accepted connection, so a swap applies to the next connection.
 *
 * Invariant: configuration and generation of an acceptor never change.
 */
export class TlsAcceptor {
  /** The configuration that connections are accepted with. */
  readonly config: TlsConfig;
  /** The generation that these connections belong to. */
  readonly generation: number;
  readonly #handshakes: HandshakeServer;

  static {
    handshakesOf = (acceptor) => acceptor.#handshakes;
  }

  /**
   * Makes an acceptor. `TlsState.acceptor()` returns the current one of a state.
   *
   * @param config The configuration that connections are accepted with.
   * @param generation The number of the configuration in its state.
   * @param lineage The generations of the state; by default the acceptor is alone.
   */
  constructor(config: TlsConfig, generation = 0, lineage?: Lineage) {
    this.config = config;
    this.generation = generation;
    this.#handshakes = new HandshakeServer(config, generation, lineage ?? createLineage(() => this.#handshakes));
  }

  /**
   * Makes the TLS handshake as the server.
   *
   * Resolves when the handshake is complete **and** the client satisfies the client authentication of this
   * configuration and of the current one. Otherwise rejects and closes the connection. Always catch the rejection,
   * because an unhandled rejection ends the process.
   *
   * Accepts TCP sockets, unix sockets and any other `Duplex`. For STARTTLS, first put back the bytes after the command
   * with `socket.unshift(bytes)`. A `Duplex` that is not a `net.Socket` needs a context of its own and does not resume
   * sessions.
   *
   * With several certified keys, the client gets the key for the name that it asks for, of a kind that it can verify.
   * The ClientHello is read before the handshake only if there are several keys, unknown names are refused, a challenge
   * of `TlsState.answerAlpnChallenge()` is pending, or `onClientHello` is set.
   *
   * An `"error"` of the returned socket closes the connection, also without a listener (RFC 8446 section 6.2). To close
   * the connection, destroy only the returned socket, because Node can crash if both sockets are destroyed in one turn.
   *
   * @param socket The accepted connection. It belongs to the acceptor from now on.
   * @param options The signal, the time limit, `noDelay` and `onClientHello`.
   * @returns The encrypted connection.
   * @throws {TlsReloadError} `HANDSHAKE_FAILED`, `HANDSHAKE_TIMEOUT`, `CLIENT_UNAUTHORIZED`, or `CHALLENGE_ANSWERED`;
   * the reason of the signal if it is aborted.
   * @throws {TypeError} If the socket is not a `Duplex`, or an option is unknown or invalid.
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
  requireOptionTypes("accept()", options, OPTION_TYPES);
  const { signal, handshakeTimeoutMs = 10_000, noDelay = true, onClientHello } = options;
  requireMs("handshakeTimeoutMs", handshakeTimeoutMs);
  return { signal, handshakeTimeoutMs, noDelay, onClientHello };
}
