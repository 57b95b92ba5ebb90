import { closeSync, constants, type Dirent, fstatSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { readdir, realpath } from "node:fs/promises";

/** The file system operations that the sources of roots use. */
export interface FileSystem {
  /**
   * Resolves all links. Asynchronous like {@linkcode FileSystem.list}, so that the caller can stop waiting for a place
   * that does not answer, such as a network mount.
   */
  realPath(path: string): Promise<string>;
  /** The entries of a directory. */
  list(directory: string): Promise<readonly Pick<Dirent, "name" | "isFile" | "isSymbolicLink">[]>;
  /**
   * The target of a link. Synchronous like {@linkcode FileSystem.read}, because asynchronous reading of the 300 small
   * files of a usual store takes three times as long. Used only for places that have answered.
   */
  readLink(path: string): string;
  /** The content of a regular file. */
  read(path: string): Uint8Array;
}

/** Far more than the 220 KB of a usual store. */
export const MAX_BYTES = 16 * 1024 * 1024;

/** The file system of the machine. */
export const nodeFileSystem: FileSystem = {
  realPath: (path) => realpath(path),
  list: (directory) => readdir(directory, { withFileTypes: true }),
  readLink: (path) => readlinkSync(path),
  read(path) {
    // A FIFO would block and a device might never end. O_NONBLOCK opens both without waiting, so they can be refused.
    const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const stats = fstatSync(file);
      if (stats.isDirectory()) throw Object.assign(new Error("a directory"), { code: "EISDIR" });
      if (!stats.isFile()) throw new Error("not a regular file");
      if (stats.size > MAX_BYTES) throw Object.assign(new Error("too large"), { code: "EFBIG" });
      return readFileSync(file);
    } finally {
      closeSync(file);
    }
  },
};
