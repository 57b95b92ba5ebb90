import type { Mechanism } from "./native_server.ts";
import { guarded, warn } from "../warnings.ts";

/** What every server of this module that follows a state takes beside its own options. */
export interface ServingOptions {
  /**
   * Forces the mechanism by which connections reach the newest native server. By default the handoff is used where it
   * works, and the front elsewhere; `mechanismReason` of the server says why.
   */
  readonly mechanism?: Mechanism | undefined;
  /**
   * Called with the error of a configuration that cannot serve, while the previous one continues. The configuration is
   * retried with growing pauses until it serves or is replaced.
   *
   * @default Emits a process warning.
   */
  readonly onTlsError?: ((error: unknown) => void) | undefined;
}

/**
 * How a server reports errors: in a microtask, after the swap or the attempt that has failed. An error that the callback
 * throws is emitted as a process warning, and holds up no connection.
 *
 * @param options The options of the server.
 * @returns Reports one error.
 */
export function errorReporter({ onTlsError = warn }: ServingOptions): (error: unknown) => void {
  return (error) => queueMicrotask(() => guarded(() => onTlsError(error)));
}
