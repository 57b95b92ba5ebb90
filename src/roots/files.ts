import { closeSync, constants, type Dirent, fstatSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { readdir, realpath } from "node:fs/promises";

/** What is read of the file system. */
export interface FileSystem {
  /**
   * Resolves all links. In the background, as is {@linkcode FileSystem.list}: a place that does not answer, such as a
   * network mount, can be given up.
   */
  realPath(path: string): Promise<string>;
  /** What a directory holds. */
  list(directory: string): Promise<readonly Pick<Dirent, "name" | "isFile" | "isSymbolicLink">[]>;
  /**
   * Where a link leads. At once, as is {@linkcode FileSystem.read}: to wait for the background takes three times as
   * long with the 300 small files of a usual store. Only for places that have answered.
   */
  readLink(path: string): string;
  /** The content of a regular file. */
  read(path: string): Uint8Array;
}

/** Far above the 220 KB of a usual store. */
const MAX_BYTES = 16 * 1024 * 1024;

/** The file system of the machine. */
export const nodeFileSystem: FileSystem = {
  realPath: (path) => realpath(path),
  list: (directory) => readdir(directory, { withFileTypes: true }),
  readLink: (path) => readlinkSync(path),
  read(path) {
    // A FIFO would block and a device might never end: O_NONBLOCK gets past the opening of either, to be refused.
    const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const stats = fstatSync(file);
      if (stats.isDirectory()) throw Object.assign(new Error("a directory"), { code: "EISDIR" });
      if (!stats.isFile()) throw new Error("no regular file");
      if (stats.size > MAX_BYTES) throw new Error(`larger than ${MAX_BYTES} bytes`);
      return readFileSync(file);
    } finally {
      closeSync(file);
    }
  },
};
