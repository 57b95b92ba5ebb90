import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { TlsReloadError } from "../errors.ts";
import { messageOf } from "../warnings.ts";

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
