import { Buffer } from "node:buffer";
import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { requirePath } from "../arguments.ts";
import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { isMissing, readFailureReason } from "../file_errors.ts";
import type { PemFile } from "./pem.ts";

/** Far above any chain or key, and small enough to read into memory. */
export const MAX_PEM_BYTES = 1024 * 1024;
/** Holds nearly every chain and key, and is cheap to allocate for each reading. */
const CHUNK_BYTES = 16 * 1024;

/** The part of a file handle that {@linkcode readToEnd} uses. */
export interface Readable {
  read(buffer: Uint8Array, offset: number, length: number, position: null): Promise<{ bytesRead: number }>;
}

/**
 * Converts a path or a file URL to a path.
 *
 * @param path The path or the URL.
 * @returns The path as text.
 * @throws {TypeError} If the value is something else, such as PEM text. The message does not quote it, because it may
 * be a private key.
 */
export function filePath(path: string | URL): string {
  if (path instanceof URL) return fileURLToPath(path);
  // The empty path fails later, with FILE_NOT_FOUND.
  if (path !== "") requirePath("readPemFile", "path", path);
  return path;
}

/** The options of {@linkcode readPemFile}. */
export interface ReadPemFileOptions {
  /**
   * The maximum size. Larger files are refused before they are read.
   *
   * @default {1_048_576}
   */
  readonly maxBytes?: number;
}

/**
 * Reads a regular file. Refuses other kinds of files before it reads, because a FIFO blocks and a device may never end.
 *
 * @param path The path.
 * @param options The maximum size.
 * @returns The bytes, with the path for errors.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, or `FILE_TOO_LARGE`.
 * @throws {TypeError} If `path` is not a path or a file URL.
 */
export async function readPemFile(path: string | URL, options: ReadPemFileOptions = {}): Promise<PemFile> {
  const { maxBytes = MAX_PEM_BYTES } = options;
  const name = filePath(path);
  try {
    requireReadable(name, await stat(name), maxBytes);
    // Another process may have replaced the file by a FIFO since. O_NONBLOCK opens a FIFO without waiting.
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
 * Reads an open file to its end.
 *
 * @param path The path, for the error.
 * @param file The open file.
 * @param maxBytes The maximum size.
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
  if (isMissing(cause)) return failure("FILE_NOT_FOUND", path, "no such file", cause);
  return failure("FILE_UNREADABLE", path, readFailureReason(path, cause), cause);
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
