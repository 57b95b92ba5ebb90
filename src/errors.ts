/**
 * The kind of an error, as a stable string. Match on the code and never on the message.
 *
 * | code | raised when |
 * | --- | --- |
 * | `FILE_NOT_FOUND` | there is no file at the path |
 * | `FILE_UNREADABLE` | the file cannot be read: no permission, an I/O error, or not a regular file |
 * | `FILE_TOO_LARGE` | the file is larger than any certificate or key (1 MiB), or a revocation list (64 MiB) |
 * | `PEM_INVALID` | the text is broken PEM, or has another format: UTF-16, DER, PKCS#12, an old form of certificate |
 * | `NO_CERTIFICATE` | the input holds no certificate |
 * | `CERTIFICATE_INVALID` | a `CERTIFICATE` section is not an X.509 certificate |
 * | `CRL_INVALID` | a certificate revocation list is missing, broken, of an unsupported kind, or not signed by its issuer |
 * | `NO_PRIVATE_KEY` | the input holds no private key |
 * | `MULTIPLE_PRIVATE_KEYS` | the input holds several private keys |
 * | `KEY_UNSUPPORTED` | the key is damaged, or not every runtime supports its kind or its encryption |
 * | `KEY_ENCRYPTED` | the key is encrypted and no passphrase was given |
 * | `PASSPHRASE_WRONG` | the passphrase does not decrypt the key |
 * | `KEY_MISMATCH` | the key does not belong to the first certificate |
 * | `CONFIG_UNUSABLE` | the runtime refuses the configuration, or no handshake succeeds with it |
 * | `EXPECTATION_FAILED` | a configuration can serve, but is not what `expect` asks for |
 * | `CERTIFICATE_EXPIRED` | an expired certificate would replace a valid one |
 * | `CERTIFICATE_NOT_YET_VALID` | a certificate that is not yet valid would replace a valid one |
 * | `FILES_UNSTABLE` | the files changed at each attempt to read them |
 * | `HANDSHAKE_FAILED` | a peer did not complete the TLS handshake |
 * | `HANDSHAKE_TIMEOUT` | a peer did not complete the TLS handshake in time |
 * | `CLIENT_UNAUTHORIZED` | the certificate of the client is missing or not trusted |
 * | `STALE_CERTIFICATE` | a server cannot serve the current configuration, and serves an older one |
 * | `AUTHORITY_IN_USE` | a swap removes an authority that clients have used, against its `expectUnused` |
 * | `CHALLENGE_ANSWERED` | the connection was an ACME challenge of `answerAlpnChallenge()`, and has been answered |
 * | `NATIVE_ROOTS_UNAVAILABLE` | the trusted roots of the system cannot be read, or there are none |
 * | `UNSUPPORTED` | the runtime does not support this; the message names the runtime and an alternative |
 */
export type TlsReloadErrorCode =
  | "FILE_NOT_FOUND"
  | "FILE_UNREADABLE"
  | "FILE_TOO_LARGE"
  | "PEM_INVALID"
  | "NO_CERTIFICATE"
  | "CERTIFICATE_INVALID"
  | "CRL_INVALID"
  | "NO_PRIVATE_KEY"
  | "MULTIPLE_PRIVATE_KEYS"
  | "KEY_UNSUPPORTED"
  | "KEY_ENCRYPTED"
  | "PASSPHRASE_WRONG"
  | "KEY_MISMATCH"
  | "CONFIG_UNUSABLE"
  | "EXPECTATION_FAILED"
  | "CERTIFICATE_EXPIRED"
  | "CERTIFICATE_NOT_YET_VALID"
  | "FILES_UNSTABLE"
  | "HANDSHAKE_FAILED"
  | "HANDSHAKE_TIMEOUT"
  | "CLIENT_UNAUTHORIZED"
  | "STALE_CERTIFICATE"
  | "AUTHORITY_IN_USE"
  | "CHALLENGE_ANSWERED"
  | "NATIVE_ROOTS_UNAVAILABLE"
  | "UNSUPPORTED";

/** The origin of an error. */
export interface TlsReloadErrorOptions {
  /** The error that caused this one. */
  readonly cause?: unknown;
  /** The file that was read. */
  readonly path?: string | undefined;
  /** The line in the file, counted from 1. */
  readonly line?: number | undefined;
}

/**
 * Every error of this module. It never holds a byte of a private key or the content of a file.
 *
 * @example Tell a file that is not there yet from one that is broken
 * ```ts
 * import { loadTlsConfig, TlsReloadError } from "@x/tls-reload";
 *
 * const config = await loadTlsConfig("missing.pem", "missing.key").catch((error) => {
 *   if (error instanceof TlsReloadError && error.code === "FILE_NOT_FOUND") return undefined;
 *   throw error;
 * });
 * if (config !== undefined) throw new Error("unexpected");
 * ```
 */
export class TlsReloadError extends Error {
  /** The kind of the error, stable across versions. */
  readonly code: TlsReloadErrorCode;
  /** The file that was read, if there is one. */
  declare readonly path: string | undefined;
  /** The line in the file, counted from 1, if it is known. */
  declare readonly line: number | undefined;

  static {
    Object.defineProperty(this.prototype, "name", { value: "TlsReloadError", writable: true, configurable: true });
  }

  /**
   * Makes an error.
   *
   * @param code The kind of the error.
   * @param message Action, reason, and the value after a colon.
   * @param options Cause, path and line.
   */
  constructor(code: TlsReloadErrorCode, message: string, options: TlsReloadErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    // Always defines both, because errors of JavaScriptCore have a `line` of the source code. Unknown values are not
    // enumerable, so that logs do not show them.
    for (const name of ["path", "line"] as const) {
      Object.defineProperty(this, name, { value: options[name], enumerable: options[name] !== undefined });
    }
  }
}

/** Names file and line for a message: ` in "chain.pem" at line 3`. */
export function location({ path, line }: TlsReloadErrorOptions): string {
  return (path === undefined ? "" : ` in "${path}"`) + (line === undefined ? "" : ` at line ${line}`);
}

/** The maximum number of errors that a message repeats, so that it still fits a line of a log. */
const MAX_REPEATED = 10;

/**
 * The error if no source holds a trusted root. The code is `NATIVE_ROOTS_UNAVAILABLE`, and the message repeats the
 * errors of the sources.
 */
export class NativeRootsError extends TlsReloadError {
  /** The errors of all sources. */
  readonly errors: readonly TlsReloadError[];

  static {
    Object.defineProperty(this.prototype, "name", { value: "NativeRootsError" });
  }

  /**
   * Makes an error.
   *
   * @param errors The errors of all sources.
   */
  constructor(errors: readonly TlsReloadError[]) {
    const reasons = errors.slice(0, MAX_REPEATED).map(({ message }) => message.replace(/^C/, "c"));
    if (errors.length > MAX_REPEATED) reasons.push(`and ${errors.length - MAX_REPEATED} more`);
    super("NATIVE_ROOTS_UNAVAILABLE", `Cannot load native roots: ${reasons.join("; ")}`, { cause: errors[0] });
    this.errors = Object.freeze([...errors]);
  }
}
