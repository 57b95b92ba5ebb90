import { Buffer } from "node:buffer";
import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import type { PemFile } from "./pem.ts";

/** Far above any chain or key, far below what would hurt. */
const MAX_BYTES = 1024 * 1024;
/** Holds nearly every chain and key, and costs little where a file is read again and again. */
const CHUNK_BYTES = 16 * 1024;

/** The path of a file that is given as one or as its URL. */
export function filePath(path: string | URL): string {
  return path instanceof URL ? fileURLToPath(path) : path;
}

/**
 * Reads a regular file whole, or refuses it before it is read: a FIFO would block, a device might never end.
 *
 * @param path Where it stands.
 * @returns Its bytes, with its path for errors.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, or `FILE_TOO_LARGE`.
 * @throws {TypeError} If it is the URL of no file.
 */
export async function readPemFile(path: string | URL): Promise<PemFile> {
  const name = filePath(path);
  try {
    requireReadable(name, await stat(name));
    // Another kind of file may have taken its place since: O_NONBLOCK keeps the opening of a FIFO from waiting.
    const file = await open(name, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      requireReadable(name, await file.stat());
      const chunks: Uint8Array[] = [];
      let length = 0;
      for (let bytesRead = -1; bytesRead !== 0 && length <= MAX_BYTES; length += bytesRead) {
        const chunk = new Uint8Array(CHUNK_BYTES);
        ({ bytesRead } = await file.read(chunk, 0, chunk.length, null));
        chunks.push(chunk.subarray(0, bytesRead));
      }
      if (length > MAX_BYTES) throw tooLarge(name);
      return { path: name, bytes: new Uint8Array(Buffer.concat(chunks)) };
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof TlsReloadError) throw cause;
    const { code, name: kind } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") throw failure("FILE_NOT_FOUND", name, "no such file", cause);
    const reason = kind === "NotCapable" ? `Deno needs --allow-read=${name}` : `the system says ${code ?? kind}`;
    throw failure("FILE_UNREADABLE", name, reason, cause);
  }
}

function requireReadable(path: string, stats: Stats): void {
  if (!stats.isFile()) throw failure("FILE_UNREADABLE", path, `not a regular file but a ${kindOf(stats)}`);
  if (stats.size > MAX_BYTES) throw tooLarge(path);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "directory";
  if (stats.isFIFO()) return "FIFO";
  return stats.isSocket() ? "socket" : "device";
}

function tooLarge(path: string): TlsReloadError {
  return failure("FILE_TOO_LARGE", path, `larger than ${MAX_BYTES} bytes`);
}

function failure(code: TlsReloadErrorCode, path: string, reason: string, cause?: unknown): TlsReloadError {
  return new TlsReloadError(code, `Cannot read "${path}": ${reason}`, { cause, path });
}
