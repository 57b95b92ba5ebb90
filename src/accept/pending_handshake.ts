import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { TlsReloadError } from "../errors.ts";
import type { ClientHello } from "./client_hello.ts";
import { failure } from "./handshake_failure.ts";
import { forget, type Pending } from "./inner_server.ts";

/** The options of one handshake. */
export interface HandshakeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly handshakeTimeoutMs: number;
  readonly noDelay: boolean;
  /** Called with the ClientHello before it is answered. An error that it throws, or a promise, refuses the client. */
  readonly onClientHello?: ((hello: ClientHello) => void) | undefined;
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

/** The longest wait for the end of a connection that is destroyed at the time limit. */
const DESTROY_LIMIT_MS = 1_000;

/**
 * A handshake that has not ended.
 *
 * Invariant: it ends once, by `end()` or by `fail()`. After that no timer and no listener of it is left.
 */
export class PendingHandshake implements Pending {
  refusal: TlsReloadError | undefined;
  /** The first hello of the client, if it was read. */
  hello: ClientHello | undefined;
  admit: (secure: TLSSocket) => void = () => {};
  /** Stops the reading of the hello. */
  stopReading: () => void = () => {};
  readonly #socket: Duplex;
  readonly #options: HandshakeOptions;
  readonly #outcome: HandshakeOutcome;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hasEnded = false;

  constructor(socket: Duplex, options: HandshakeOptions, outcome: HandshakeOutcome) {
    this.#socket = socket;
    this.#options = options;
    this.#outcome = outcome;
  }

  /**
   * Sets the limits of the handshake.
   *
   * @returns Whether it may begin: `false` if the signal is aborted or the peer has ended the connection.
   */
  begin(): boolean {
    const { signal, handshakeTimeoutMs } = this.#options;
    if (handshakeTimeoutMs < Infinity) this.#timer = setTimeout(this.#onTimeout, handshakeTimeoutMs);
    this.#socket.on("error", ignore).once("close", this.#onClose);
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted) this.#onAbort();
    else if (this.#socket.destroyed || this.#socket.readableEnded) this.#onClose();
    else return true;
    return false;
  }

  /** Ends the handshake. Returns whether it had not ended before. */
  end(): boolean {
    if (this.#hasEnded) return false;
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#socket.removeListener("close", this.#onClose);
    forget(this.#socket);
    return true;
  }

  fail(error: unknown, secure?: TLSSocket): void {
    if (!this.end()) return;
    this.stopReading();
    this.#socket.destroy();
    this.#outcome.fail(error, secure);
  }

  readonly #onAbort = (): void => this.fail(this.#options.signal?.reason);

  /** The event of the runtime, if there is one, comes after the close of the socket and says more. */
  readonly #onClose = (): void => {
    const { errored } = this.#socket;
    const error = this.refusal ?? failure("HANDSHAKE_FAILED", "the peer closed the connection", errored);
    setImmediate(() => this.fail(error));
  };

  readonly #onTimeout = (): void => {
    this.refusal = failure("HANDSHAKE_TIMEOUT", `no handshake within ${this.#options.handshakeTimeoutMs} ms`);
    // A stream whose `destroy()` never calls back emits nothing.
    this.#timer = setTimeout(() => this.fail(this.refusal), DESTROY_LIMIT_MS);
    // The runtime emits the error together with the encrypted socket.
    this.#socket.destroy(this.refusal);
  };
}

/** A peer may end a connection in any way at any time. What follows arrives as `"close"`. */
function ignore(): void {}
