import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { TlsReloadError } from "../errors.ts";
import { guarded, messageOf, warn } from "../warnings.ts";
import type { ServingOptions } from "./serving_options.ts";

/**
 * How a server reports errors: in a microtask, after the swap or the attempt that has failed. An error that the
 * callback throws is emitted as a process warning, and holds up no connection.
 */
export function errorReporter({ onTlsError = warn }: ServingOptions): (error: unknown) => void {
  return (error) => queueMicrotask(() => guarded(() => onTlsError(error)));
}

/** An error of this module as it is, another one with the action that it prevented, such as `Cannot stop listening`. */
export function typedError(action: string, error: unknown): TlsReloadError {
  if (error instanceof TlsReloadError) return error;
  const options = error instanceof Error ? { cause: error } : {};
  return new TlsReloadError("STALE_CERTIFICATE", `${action}: ${messageOf(error)}`, options);
}

/** The error to report when a generation does not serve. */
export function servingError({ generation }: TlsAcceptor, error: unknown): TlsReloadError {
  return typedError(`Cannot serve generation ${generation}`, error);
}
