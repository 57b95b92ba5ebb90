import { TlsReloadError } from "../errors.ts";

/** Errors of the system about the address to listen on, such as `EADDRINUSE`. */
const ADDRESS_ERROR = /^E(?:ADDRINUSE|ADDRNOTAVAIL|ACCES|AFNOSUPPORT|INVAL|PERM)$/;

/**
 * The error to throw when a native server does not start.
 *
 * @param cause The error of the runtime.
 * @param server The function that threw it, such as `Bun.serve`.
 * @returns The cause itself for a wrong option or address, which are not a matter of TLS; else `CONFIG_UNUSABLE`.
 */
export function startError(cause: unknown, server: string): unknown {
  if (cause instanceof TypeError || ADDRESS_ERROR.test((cause as NodeJS.ErrnoException | null)?.code ?? "")) {
    return cause;
  }
  return new TlsReloadError("CONFIG_UNUSABLE", `Cannot serve: ${server} does not start`, { cause });
}
