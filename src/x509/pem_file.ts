import { Buffer } from "node:buffer";
import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { requirePath } from "../arguments.ts";
import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import type { PemFile } from "./pem.ts";

/** Far above any chain or key, and far below what would hurt. */
export const MAX_PEM_BYTES = 1024 * 1024;
/** Holds nearly every chain and key, and costs little where a file is read again and again. */
const CHUNK_BYTES = 16 * 1024;

/** The part of a file handle that is read from. */
export interface Readable {
  read(buffer: Uint8Array, offset: number, length: number, position: null): Promise<{ bytesRead: number }>;
}

/**
 * The path of a file that is given by its path or its URL.
 *
 * @param path The path.
 * @returns The path as text.
 * @throws {TypeError} If it is something else, such as PEM text. The message shows nothing of it, because it may be a
 * private key.
 */
export function filePath(path: string | URL): string {
  if (path instanceof URL) return fileURLToPath(path);
  // The empty path is a path of no file.
  if (path !== "") requirePath("readPemFile", "path", path);
  return path;
}

/** How {@linkcode readPemFile} reads. */
export interface ReadPemFileOptions {
  /**
   * Larger files are refused before they are read.
   *
   * @default {1_048_576}
   */
  readonly maxBytes?: number;
}

/**
 * Reads a regular file whole. Other kinds are refused before they are read: a FIFO would block, a device might never
 * end.
 *
 * @param path The path.
 * @param options The limit of its size.
 * @returns Its bytes, with its path for errors.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, or `FILE_TOO_LARGE`.
 * @throws {TypeError} If this is not a path or a file URL.
 */
export async function readPemFile(path: string | URL, options: ReadPemFileOptions = {}): Promise<PemFile> {
  const { maxBytes = MAX_PEM_BYTES } = options;
  const name = filePath(path);
  try {
    requireReadable(name, await stat(name), maxBytes);
    // Another kind of file may have taken its place since: O_NONBLOCK keeps the opening of a FIFO from waiting.
    const file = await open(name, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      requireReadable(name, await file.stat(), maxBytes);
      return { path: name, bytes: await readToEnd(name, file, maxBytes) };
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw readFailure(name, cause);
  }
}

/**
 * Reads to the end.
 *
 * @param path The path, for the error.
 * @param file The open file.
 * @param maxBytes How many bytes it may have.
 * @returns The bytes.
 * @throws {TlsReloadError} `FILE_TOO_LARGE`.
 */
export async function readToEnd(path: string, file: Readable, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let bytesRead = -1; bytesRead !== 0 && length <= maxBytes; length += bytesRead) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    ({ bytesRead } = await file.read(chunk, 0, chunk.length, null));
    chunks.push(chunk.subarray(0, bytesRead));
  }
  if (length > maxBytes) throw tooLarge(path, maxBytes);
  return new Uint8Array(Buffer.concat(chunks));
}

/** The error for a file that cannot be read. */
export function readFailure(path: string, cause: unknown): TlsReloadError {
  if (cause instanceof TlsReloadError) return cause;
  const { code, name: kind } = cause as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return failure("FILE_NOT_FOUND", path, "no such file", cause);
  return failure("FILE_UNREADABLE", path, reasonOf(path, code ?? kind), cause);
}

function reasonOf(path: string, code: string): string {
  if (code === "NotCapable") return `Deno needs --allow-read=${path}`;
  if (code === "ERR_ACCESS_DENIED") return `Node needs --allow-fs-read=${path}`;
  return `the system says ${code}`;
}

function requireReadable(path: string, stats: Stats, maxBytes: number): void {
  if (!stats.isFile()) throw failure("FILE_UNREADABLE", path, `not a regular file but a ${kindOf(stats)}`);
  if (stats.size > maxBytes) throw tooLarge(path, maxBytes);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "directory";
  if (stats.isFIFO()) return "FIFO";
  return stats.isSocket() ? "socket" : "device";
}

function tooLarge(path: string, maxBytes: number): TlsReloadError {
  return failure("FILE_TOO_LARGE", path, `larger than ${maxBytes} bytes`);
}

function failure(code: TlsReloadErrorCode, path: string, reason: string, cause?: unknown): TlsReloadError {
  return new TlsReloadError(code, `Cannot read "${path}": ${reason}`, { cause, path });
}
