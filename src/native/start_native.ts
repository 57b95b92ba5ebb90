import { TlsReloadError } from "../errors.ts";

/** Errors of the system about the address to listen on, such as `EADDRINUSE`. */
const ADDRESS_ERROR = /^E(?:ADDRINUSE|ADDRNOTAVAIL|ACCES|AFNOSUPPORT|INVAL|PERM)$/;

/**
 * Starts a native server. The error of a wrong option or address is thrown as it is, because it is not a matter of TLS.
 *
 * @param name The function that starts it, such as `Bun.serve`.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE` if it does not start for another reason.
 */
export function startNative<Native>(name: string, start: () => Native): Native {
  try {
    return start();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException | null)?.code ?? "";
    if (cause instanceof TypeError || ADDRESS_ERROR.test(code)) throw cause;
    throw new TlsReloadError("CONFIG_UNUSABLE", `Cannot serve: ${name} does not start`, { cause });
  }
}
