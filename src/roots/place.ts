import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { readFailureReason } from "../file_errors.ts";
import { MAX_BYTES } from "./files.ts";
import type { RootSource } from "./store.ts";

/** The codes of temporary errors: too many open files, an interrupted call, a mount that comes back. */
const TEMPORARY = new Set<unknown>(
  ["EAGAIN", "EBUSY", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ESTALE", "ETIMEDOUT"],
);
const CODES: Readonly<Record<string, TlsReloadErrorCode>> = { ENOENT: "FILE_NOT_FOUND", EFBIG: "FILE_TOO_LARGE" };
/** The message of Deno's NotCapable names the denied access and the flag that permits it. */
const NOT_CAPABLE = /access to "([^"]+)".*(--allow-\w+)/;
/** The codes of places that do not exist, or that the permissions of the runtime hide. */
const ABSENT = new Set<unknown>(["ENOENT", "ENOTDIR", "ERR_ACCESS_DENIED"]);
/** Reasons by the error code of the system, with the same text on every system. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EISDIR: "not a file but a directory",
  EACCES: "this process has no permission to read it",
  EPERM: "this process has no permission to read it",
  ELOOP: "its links lead in a circle",
  EFBIG: `larger than ${MAX_BYTES} bytes`,
};

/** A file or a keychain that is read as a whole. */
export interface RootDocument {
  readonly path: string;
  /** Documents with the same identity are read once. */
  readonly id: string;
  /** The bytes; `undefined` if the document does not exist, which is not an error. */
  read(): Uint8Array | undefined;
  /** Whether a certificate of the document is trusted; absent if all are. */
  trusts?(der: Uint8Array): boolean;
}

/** A place where roots may be. */
export interface RootPlace {
  readonly origin: RootSource["origin"];
  /** The file, directory or keychain. */
  readonly path: string | undefined;
  /** Only the first of these places that exists is read. */
  readonly isAlternative?: boolean;
  /** Finds the documents, in the background. The signal aborts when the caller stops waiting. */
  find(signal: AbortSignal): Promise<readonly RootDocument[]>;
}

/** A default place counts as absent if the permissions of the runtime hide it, because it may not exist. */
export function isAbsent({ origin }: RootPlace, cause: unknown): boolean {
  const { code, name } = cause as NodeJS.ErrnoException;
  return origin === "default" && (ABSENT.has(code) || name === "NotCapable");
}

/** Whether an error may pass, so that a retry makes sense. */
export function isTemporary({ cause }: TlsReloadError): boolean {
  const { code } = (cause ?? {}) as { code?: unknown };
  // A number is the exit code of a program. The keychains may be busy.
  return TEMPORARY.has(code) || typeof code === "number";
}

/** The error for a place or a document that cannot be read. */
export function readFailure(name: string, path: string | undefined, cause: unknown): TlsReloadError {
  if (cause instanceof TlsReloadError) return cause;
  const error = cause as NodeJS.ErrnoException;
  const [, access, flag] = error.name === "NotCapable" ? NOT_CAPABLE.exec(error.message) ?? [] : [];
  const reason = flag ? `Deno needs ${flag}=${access}` : reasonOf(path, error);
  const text = `Cannot read ${name}: ${reason}`;
  return new TlsReloadError(CODES[error.code ?? ""] ?? "FILE_UNREADABLE", text, { cause, path });
}

function reasonOf(path: string | undefined, cause: NodeJS.ErrnoException): string {
  const { code, message } = cause;
  if (typeof code !== "string") return message;
  return REASONS[code] ?? readFailureReason(path, cause);
}

/** Names a place for a message. */
export function nameOf({ origin, path }: RootPlace): string {
  if (path === undefined) return origin === "keychain" ? "the keychains" : "the runtime's list";
  return origin === "default" ? `"${path}"` : `${origin} "${path}"`;
}
