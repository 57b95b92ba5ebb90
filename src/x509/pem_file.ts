import { Buffer } from "node:buffer";
import { type BigIntStats, closeSync, constants, fstatSync, open, read, stat, type Stats } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { requirePath } from "../arguments.ts";
import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { isMissing, readFailureReason } from "../file_errors.ts";
import type { PemFile } from "./pem.ts";

/** Far above any chain or key, and small enough to read into memory. */
export const MAX_PEM_BYTES = 1024 * 1024;
/** Holds nearly every chain and key, and is cheap to allocate. */
const CHUNK_BYTES = 16 * 1024;

const openDescriptor = promisify(open);

/** Like `stat()` of `node:fs/promises`, which takes half as much time again on Node. */
export const statFile: typeof stat.__promisify__ = promisify(stat);

/** Reads the next bytes into a buffer, and resolves to their number: 0 at the end. */
export type Reader = (buffer: Uint8Array) => Promise<number>;

/** Reads from a file descriptor. */
export function readerOf(descriptor: number): Reader {
  return (buffer) =>
    new Promise((resolve, reject) => {
      read(descriptor, buffer, 0, buffer.length, null, (error, count) => error ? reject(error) : resolve(count));
    });
}

/** Opens a file while a function uses it. Opens a FIFO without waiting for its writer. */
export async function withOpenFile<Result>(
  path: string,
  use: (descriptor: number) => Promise<Result>,
): Promise<Result> {
  const descriptor = await openDescriptor(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    return await use(descriptor);
  } finally {
    // Does not wait for the disk, because nothing was written.
    closeSync(descriptor);
  }
}

/**
 * Converts a path or a file URL to a path.
 *
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
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, or `FILE_TOO_LARGE`.
 * @throws {TypeError} If `path` is not a path or a file URL.
 */
export async function readPemFile(path: string | URL, options: ReadPemFileOptions = {}): Promise<PemFile> {
  const { maxBytes = MAX_PEM_BYTES } = options;
  const name = filePath(path);
  try {
    const { bytes } = await readRegularFile(name, await statFile(name), maxBytes);
    return { path: name, bytes };
  } catch (cause) {
    throw readFailure(name, cause);
  }
}

/**
 * Like {@linkcode readPemFile}, for a file that has been found. Also returns the facts about the file that was opened.
 *
 * @throws {TlsReloadError} `FILE_UNREADABLE`, or `FILE_TOO_LARGE`.
 * @throws {unknown} The error of the system.
 */
export async function readRegularFile(
  path: string,
  stats: Stats | BigIntStats,
  maxBytes: number,
): Promise<{ readonly bytes: Uint8Array; readonly stats: BigIntStats }> {
  requireReadable(path, stats, maxBytes);
  return await withOpenFile(path, async (descriptor) => {
    // Another process may have replaced the file since, also by a FIFO or a device.
    const opened = fstatSync(descriptor, { bigint: true });
    requireReadable(path, opened, maxBytes);
    const bytes = await readToEnd(path, readerOf(descriptor), maxBytes, Number(opened.size));
    return { bytes, stats: opened };
  });
}

/**
 * Reads to the end.
 *
 * @param size The size, if it is known, so that the end is not read for. Special files say 0.
 * @throws {TlsReloadError} `FILE_TOO_LARGE`.
 */
export async function readToEnd(path: string, reader: Reader, maxBytes: number, size = 0): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (length <= maxBytes) {
    // One byte more than the size, to notice that the file has grown.
    const chunk = new Uint8Array(length < size ? size - length + 1 : CHUNK_BYTES);
    const count = await reader(chunk);
    chunks.push(chunk.subarray(0, count));
    length += count;
    if (count === 0 || length === size) break;
  }
  if (length > maxBytes) throw tooLarge(path, maxBytes);
  return chunks.length === 1 ? chunks[0]! : new Uint8Array(Buffer.concat(chunks));
}

/** The error for a file that cannot be read. */
export function readFailure(path: string, cause: unknown): TlsReloadError {
  if (cause instanceof TlsReloadError) return cause;
  if (isMissing(cause)) {
    const place = isAbsolute(path) ? "" : ` at "${resolve(path)}"`;
    return failure("FILE_NOT_FOUND", path, `no such file${place}`, cause);
  }
  return failure("FILE_UNREADABLE", path, readFailureReason(path, cause), cause);
}

function requireReadable(path: string, stats: Stats | BigIntStats, maxBytes: number): void {
  if (!stats.isFile()) throw failure("FILE_UNREADABLE", path, `not a regular file but a ${fileTypeOf(stats)}`);
  if (stats.size > maxBytes) throw tooLarge(path, maxBytes);
}

function fileTypeOf(stats: Stats | BigIntStats): string {
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
