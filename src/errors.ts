/**
 * What went wrong, as a stable string. Match on this and never on the message.
 *
 * | code | raised when |
 * | --- | --- |
 * | `FILE_NOT_FOUND` | no file stands at the path |
 * | `FILE_UNREADABLE` | it cannot be read: no permission, an I/O error, or no regular file |
 * | `FILE_TOO_LARGE` | it is larger than certificates and keys ever are (1 MiB) |
 * | `PEM_INVALID` | the text is broken PEM, or something else: UTF-16, DER, PKCS#12, an old form of certificate |
 * | `NO_CERTIFICATE` | the input holds no certificate |
 * | `CERTIFICATE_INVALID` | a `CERTIFICATE` section is no X.509 certificate |
 * | `CRL_INVALID` | there is no certificate revocation list, it is broken or of a kind that is refused, or not its issuer's |
 * | `NO_PRIVATE_KEY` | the input holds no private key |
 * | `MULTIPLE_PRIVATE_KEYS` | it holds several, and which one is meant cannot be known |
 * | `KEY_UNSUPPORTED` | the key is damaged, or of a kind or encrypted in a way that not every runtime can use |
 * | `KEY_ENCRYPTED` | the key is encrypted and no passphrase was given |
 * | `PASSPHRASE_WRONG` | the passphrase does not decrypt the key |
 * | `KEY_MISMATCH` | the key does not belong to the first certificate |
 * | `CONFIG_UNUSABLE` | the runtime refused the configuration, or it could not finish a handshake |
 * | `CERTIFICATE_EXPIRED` | a reload was offered a certificate that has expired, in place of one that is valid |
 * | `CERTIFICATE_NOT_YET_VALID` | the same of one whose validity has not begun |
 * | `FILES_UNSTABLE` | the files went on changing while they were read |
 * | `HANDSHAKE_FAILED` | a peer did not complete the TLS handshake |
 * | `HANDSHAKE_TIMEOUT` | a peer did not complete it in time |
 * | `CLIENT_UNAUTHORIZED` | the client's certificate is missing or not to be trusted |
 * | `STALE_CERTIFICATE` | a server could not take over the current configuration, and serves an older one |
 * | `CHALLENGE_ANSWERED` | the connection was an ACME challenge of `answerAlpnChallenge()`, and has been answered |
 * | `NATIVE_ROOTS_UNAVAILABLE` | the system's trusted roots cannot be read, or there are none |
 * | `UNSUPPORTED` | the runtime cannot do this; the message says which one and what to use instead |
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
  | "CERTIFICATE_EXPIRED"
  | "CERTIFICATE_NOT_YET_VALID"
  | "FILES_UNSTABLE"
  | "HANDSHAKE_FAILED"
  | "HANDSHAKE_TIMEOUT"
  | "CLIENT_UNAUTHORIZED"
  | "STALE_CERTIFICATE"
  | "CHALLENGE_ANSWERED"
  | "NATIVE_ROOTS_UNAVAILABLE"
  | "UNSUPPORTED";

/** Where an error comes from. */
export interface TlsReloadErrorOptions {
  /** The error underneath. */
  readonly cause?: unknown;
  /** The file that was read. */
  readonly path?: string | undefined;
  /** The line in it, counted from 1. */
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
  /** What went wrong, stable across versions. */
  readonly code: TlsReloadErrorCode;
  /** The file that was read, where there is one. */
  declare readonly path: string | undefined;
  /** The line in it, counted from 1, where it is known. */
  declare readonly line: number | undefined;

  static {
    Object.defineProperty(this.prototype, "name", { value: "TlsReloadError", writable: true, configurable: true });
  }

  /**
   * Makes an error.
   *
   * @param code What went wrong.
   * @param message Action, reason, and the value after a colon.
   * @param options Cause, path and line.
   */
  constructor(code: TlsReloadErrorCode, message: string, options: TlsReloadErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    // Always its own: the errors of JavaScriptCore have a `line` from birth, that of the source. What is not known
    // would only clutter the log.
    for (const name of ["path", "line"] as const) {
      Object.defineProperty(this, name, { value: options[name], enumerable: options[name] !== undefined });
    }
  }
}

/** Where in which file, for a message: ` in "chain.pem" at line 3`. */
export function location({ path, line }: TlsReloadErrorOptions): string {
  return (path === undefined ? "" : ` in "${path}"`) + (line === undefined ? "" : ` at line ${line}`);
}

/** How many errors a message repeats: enough to act on, and still a line of a log. */
const MAX_REPEATED = 10;

/**
 * No trusted root could be read from any source. Its message says of each what is wrong with it.
 *
 * Its code is `NATIVE_ROOTS_UNAVAILABLE`.
 */
export class NativeRootsError extends TlsReloadError {
  /** What is wrong with each source that was tried. */
  readonly errors: readonly TlsReloadError[];

  static {
    Object.defineProperty(this.prototype, "name", { value: "NativeRootsError" });
  }

  /**
   * Makes an error.
   *
   * @param errors What is wrong with each source that was tried.
   */
  constructor(errors: readonly TlsReloadError[]) {
    const reasons = errors.slice(0, MAX_REPEATED).map(({ message }) => message.replace(/^C/, "c"));
    if (errors.length > MAX_REPEATED) reasons.push(`and ${errors.length - MAX_REPEATED} more`);
    super("NATIVE_ROOTS_UNAVAILABLE", `Cannot load native roots: ${reasons.join("; ")}`, { cause: errors[0] });
    this.errors = Object.freeze([...errors]);
  }
}
