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
   * How long a client may take for the handshake. On Bun the time limit of the server holds.
   *
   * @default The time limit of the server where it can be read, else 10 seconds.
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Sends small packets at once (`TCP_NODELAY`). On Bun the setting of the server holds.
   *
   * @default {true}
   */
  readonly noDelay?: boolean | undefined;
  /**
   * Forces a mechanism.
   *
   * @default The best one that this runtime has for the server.
   */
  readonly mechanism?: AttachMechanism | undefined;
  /**
   * Called with our error of each connection whose handshake fails or whose client is refused. The server emits
   * `"tlsClientError"` too, with the error of the runtime.
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
  /** Why it follows in this way. */
  readonly mechanismReason: string;
  /** Called with the error of each failed handshake, if the option was given. */
  readonly onTlsError: ((error: TlsReloadError) => void) | undefined;
}
