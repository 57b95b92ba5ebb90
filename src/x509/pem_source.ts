import type { BigIntStats } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { TlsReloadError } from "../errors.ts";
import type { PemFile } from "./pem.ts";
import {
  filePath,
  MAX_PEM_BYTES,
  type Reader,
  readerOf,
  readFailure,
  type ReadPemFileOptions,
  readRegularFile,
  readToEnd,
  statFile,
  withOpenFile,
} from "./pem_file.ts";

const STANDARD_INPUT = "/dev/stdin";
const STANDARD_INPUT_DESCRIPTOR = 0;
/** The longest wait for a writer to begin or to continue. */
const WRITER_TIMEOUT_MS = 10_000;
const POLL_INTERVAL_MS = 10;
/** More than the resolution of the times of any file system: two seconds on FAT, and one second in Deno. */
const SETTLED_MS = 4_000;

/** The options of a {@linkcode PemSource}. */
interface ReadSourceOptions extends ReadPemFileOptions {
  /** Whether only a regular file is read, and a FIFO is refused at once. */
  readonly onlyFile?: boolean;
}

/**
 * A place that PEM is read from, as it was when it was found or last read: a file, a FIFO or standard input, such as the
 * `/dev/fd/63` of `<(vault read …)` in a shell.
 */
export class PemSource {
  /** The path. */
  readonly path: string;
  #stats: BigIntStats;

  private constructor(path: string, stats: BigIntStats) {
    this.path = path;
    this.#stats = stats;
  }

  /**
   * Finds a source. Reads nothing of it.
   *
   * @throws {TlsReloadError} `FILE_NOT_FOUND`, or `FILE_UNREADABLE`.
   * @throws {TypeError} If `path` is not a path or a file URL.
   */
  static async find(path: string | URL): Promise<PemSource> {
    const name = filePath(path);
    try {
      return new PemSource(name, await statFile(name, { bigint: true }));
    } catch (cause) {
      throw readFailure(name, cause);
    }
  }

  /**
   * Identifies the content without reading it: two sources with the same stamp have the same content. `undefined` if
   * the source is not a file, or was changed so recently that a later change may leave the same times.
   */
  get stamp(): string | undefined {
    const { dev, ino, size, mtimeNs, ctimeNs } = this.#stats;
    const changedAtMs = Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n);
    const isSettled = ctimeNs > 0n && Date.now() - changedAtMs > SETTLED_MS;
    return this.#stats.isFile() && isSettled ? [dev, ino, size, mtimeNs, ctimeNs].join() : undefined;
  }

  /**
   * Reads the source. A FIFO and standard input can be read only once. A second call waits for another writer.
   *
   * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_TOO_LARGE`, or `FILE_UNREADABLE`, also if nothing is written to a
   * FIFO within ten seconds.
   */
  async read({ maxBytes = MAX_PEM_BYTES, onlyFile = false }: ReadSourceOptions = {}): Promise<PemFile> {
    try {
      const bytes = onlyFile ? await this.#readFile(maxBytes) : await this.#readAny(maxBytes);
      return { path: this.path, bytes };
    } catch (cause) {
      throw readFailure(this.path, cause);
    }
  }

  async #readAny(maxBytes: number): Promise<Uint8Array> {
    if (this.#stats.isFIFO()) return await readFifo(this.path, maxBytes);
    // A socket cannot be opened by its path. Standard input is open already.
    const isOpen = this.path === STANDARD_INPUT && this.#stats.isSocket();
    if (isOpen) return await readToEnd(this.path, readerOf(STANDARD_INPUT_DESCRIPTOR), maxBytes);
    return await this.#readFile(maxBytes);
  }

  async #readFile(maxBytes: number): Promise<Uint8Array> {
    const { bytes, stats } = await readRegularFile(this.path, this.#stats, maxBytes);
    this.#stats = stats;
    return bytes;
  }
}

/**
 * Finds a source and reads it.
 *
 * @throws {TlsReloadError} Every error of {@linkcode PemSource}.
 * @throws {TypeError} If `path` is not a path or a file URL.
 */
export async function readPemSource(path: string | URL, options: ReadPemFileOptions = {}): Promise<PemFile> {
  const source = await PemSource.find(path);
  return await source.read(options);
}

async function readFifo(path: string, maxBytes: number): Promise<Uint8Array> {
  return await withOpenFile(path, (descriptor) => readToEnd(path, patientReader(path, descriptor), maxBytes));
}

/** Waits for the writer of a FIFO. */
function patientReader(path: string, descriptor: number): Reader {
  const reader = readerOf(descriptor);
  let hasBegun = false;
  return async (buffer) => {
    for (let waitedMs = 0; waitedMs < WRITER_TIMEOUT_MS; waitedMs += POLL_INTERVAL_MS) {
      const count = await reader(buffer).catch(ifNotReady);
      // Before a writer has opened the FIFO, a read returns 0 bytes as at the end.
      if (count !== undefined && (count > 0 || hasBegun)) {
        hasBegun = true;
        return count;
      }
      await delay(POLL_INTERVAL_MS);
    }
    const message = `Cannot read "${path}": nothing was written to it within ${WRITER_TIMEOUT_MS} ms`;
    throw new TlsReloadError("FILE_UNREADABLE", message, { path });
  };
}

function ifNotReady(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "EAGAIN") throw error;
}
