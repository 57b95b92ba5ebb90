import { constants, read } from "node:fs";
import { open, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { TlsReloadError } from "../errors.ts";
import type { PemFile } from "./pem.ts";
import {
  filePath,
  MAX_PEM_BYTES,
  type Readable,
  readFailure,
  readPemFile,
  type ReadPemFileOptions,
  readToEnd,
} from "./pem_file.ts";

const STANDARD_INPUT = "/dev/stdin";
/** The longest wait for a writer to begin or to continue. */
const WRITER_TIMEOUT_MS = 10_000;
const POLL_INTERVAL_MS = 10;

/**
 * Reads a file that may also be a FIFO or standard input, such as the `/dev/fd/63` of `<(vault read …)` in a shell. A
 * FIFO can be read only once. A second call waits for another writer.
 *
 * @param path The path.
 * @param options The maximum size.
 * @returns The bytes, with the path for errors.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_TOO_LARGE`, or `FILE_UNREADABLE`, also if nothing is written to a
 * FIFO within ten seconds.
 * @throws {TypeError} If `path` is not a path or a file URL.
 */
export async function readPemSource(path: string | URL, options: ReadPemFileOptions = {}): Promise<PemFile> {
  const { maxBytes = MAX_PEM_BYTES } = options;
  const name = filePath(path);
  try {
    const stats = await stat(name);
    if (stats.isFIFO()) return { path: name, bytes: await readFifo(name, maxBytes) };
    // A socket cannot be opened by its path. Standard input is open already.
    if (name !== STANDARD_INPUT || !stats.isSocket()) return await readPemFile(name, options);
    return { path: name, bytes: await readToEnd(name, standardInput, maxBytes) };
  } catch (cause) {
    throw readFailure(name, cause);
  }
}

async function readFifo(path: string, maxBytes: number): Promise<Uint8Array> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    let hasBegun = false;
    const fifo: Readable = {
      async read(...args) {
        for (let waitedMs = 0; waitedMs < WRITER_TIMEOUT_MS; waitedMs += POLL_INTERVAL_MS) {
          const bytesRead = await file.read(...args).then(({ bytesRead }) => bytesRead, ifNotReady);
          // Before a writer has opened the FIFO, a read returns 0 bytes as at the end.
          if (bytesRead !== undefined && (bytesRead > 0 || hasBegun)) {
            hasBegun = true;
            return { bytesRead };
          }
          await delay(POLL_INTERVAL_MS);
        }
        const message = `Cannot read "${path}": nothing was written to it within ${WRITER_TIMEOUT_MS} ms`;
        throw new TlsReloadError("FILE_UNREADABLE", message, { path });
      },
    };
    return await readToEnd(path, fifo, maxBytes);
  } finally {
    await file.close();
  }
}

function ifNotReady(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "EAGAIN") throw error;
}

const standardInput: Readable = {
  read: (buffer, offset, length, position) =>
    new Promise((resolve, reject) => {
      read(0, buffer, offset, length, position, (error, bytesRead) => error ? reject(error) : resolve({ bytesRead }));
    }),
};
