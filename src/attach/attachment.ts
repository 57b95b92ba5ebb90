import type { Generation } from "../accept/live_connections.ts";
import type { TlsReloadError } from "../errors.ts";
import { guarded } from "../warnings.ts";

/**
 * How a server follows its state.
 *
 * - `"acceptor"`: each connection is accepted by `state.acceptor()`; Node and Deno.
 * - `"handoff"`: the listening socket passes to a server of each configuration; Bun on Linux.
 * - `"context"`: each swap replaces the context of the server; `tls` and `http2` servers on Bun elsewhere.
 */
export type AttachMechanism = "acceptor" | "handoff" | "context";

/** The options of `attach()`. */
export interface AttachOptions {
  /**
   * The time limit of a handshake. On Bun the time limit of the server applies to `https` servers, and to every kind
   * with the mechanism `"context"`.
   *
   * @default The time limit of the server if it can be read, otherwise 10 seconds.
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Sends small packets at once (`TCP_NODELAY`). With the mechanism `"handoff"` this cannot be turned off; with
   * `"context"` the setting of the server applies.
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
  /**
   * Resolves when the server follows its state. Only a server of Bun that listened before it was attached takes a
   * moment: it serves as it was created until then, and `swap()` throws `UNSUPPORTED`. Rejects with the error if it
   * cannot follow; the same error is emitted as a process warning.
   */
  readonly ready: Promise<void>;
  /** How the server follows its state. */
  readonly mechanism: AttachMechanism;
  /** The reason for this mechanism. */
  readonly mechanismReason: string;
  /** The generations that hold connections and the current one, oldest first. */
  readonly generations: readonly Generation[];
  /** The option `onTlsError`. */
  readonly onTlsError: ((error: TlsReloadError) => void) | undefined;
}

/** Calls the option `onTlsError`. An error that it throws is emitted as a process warning. */
export function reportTlsError({ onTlsError }: Pick<Attachment, "onTlsError">, error: TlsReloadError): void {
  guarded(() => onTlsError?.(error));
}
