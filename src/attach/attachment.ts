import type { TlsReloadError } from "../errors.ts";

/**
 * How a server follows its state.
 *
 * - `"acceptor"`: each connection is accepted by `state.acceptor()`; Node and Deno.
 * - `"context"`: each swap replaces the context of the server; `tls` and `http2` servers on Bun.
 */
export type AttachMechanism = "acceptor" | "context";

/** The options of `attach()`. */
export interface AttachOptions {
  /**
   * The time limit of a handshake. On Bun the time limit of the server applies.
   *
   * @default The time limit of the server if it can be read, otherwise 10 seconds.
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Sends small packets at once (`TCP_NODELAY`). On Bun the setting of the server applies.
   *
   * @default {true}
   */
  readonly noDelay?: boolean | undefined;
  /**
   * The mechanism.
   *
   * @default The best mechanism that the runtime has for the server.
   */
  readonly mechanism?: AttachMechanism | undefined;
  /**
   * Called with a `TlsReloadError` for each failed handshake and each refused client. The server also emits
   * `"tlsClientError"`, with the error of the runtime.
   *
   * @default Ignored, because clients can cause any number of these.
   */
  readonly onTlsError?: ((error: TlsReloadError) => void) | undefined;
}

/** A server that follows a state, until the attachment is disposed of. */
export interface Attachment extends Disposable {
  /** Whether the server follows its state: `false` after the attachment is disposed of. */
  readonly isAttached: boolean;
  /** How the server follows its state. */
  readonly mechanism: AttachMechanism;
  /** The reason for this mechanism. */
  readonly mechanismReason: string;
  /** The option `onTlsError`. */
  readonly onTlsError: ((error: TlsReloadError) => void) | undefined;
}
