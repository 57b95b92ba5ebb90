import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { TlsReloadError } from "../errors.ts";
import { MAX_CRL_BYTES } from "../x509/crl.ts";
import { readPemFile } from "../x509/pem_file.ts";
import { fifoSpot, replacedMountSpot } from "./blind_spots.ts";
import { lookAtFolder } from "./folder.ts";

/**
 * Files and folders that belong together, and the result of their last reading.
 *
 * Invariant: all fields are of the same reading.
 */
export class FileSet {
  /** The files and folders, as absolute paths. */
  readonly paths: readonly string[];
  /** A digest of the bytes of the files, and of the names and times in the folders. */
  digest = "";
  /** The files that do not exist. */
  missing: readonly string[] = [];
  /** The latest modification time of the files. */
  changedAt: Date | undefined;
  /** The reasons why changes of a file cannot be noticed. */
  blindSpots: readonly string[] = [];
  /** When the files were read. */
  readAt: Date | undefined;

  /** @param paths The files, relative to the current working directory. */
  constructor(paths: readonly string[]) {
    this.paths = [...new Set(paths.map((path) => resolve(path)))];
  }

  /** Reads the files. An error counts as content, because a file that becomes readable is a change. */
  async read(): Promise<string> {
    const hash = createHash("sha256");
    const [missing, blindSpots]: [string[], string[]] = [[], []];
    let changedAt = 0;
    for (const path of this.paths) {
      const stats = await stat(path).catch(() => undefined);
      changedAt = Math.max(changedAt, stats?.mtimeMs ?? 0);
      if (stats?.isFIFO()) {
        // Reading would consume the content before `load` reads it.
        blindSpots.push(fifoSpot(path));
        continue;
      }
      if (stats?.isDirectory()) {
        const content = await lookAtFolder(path).catch(({ message }: Error) => ({ digest: message, changedAtMs: 0 }));
        changedAt = Math.max(changedAt, content.changedAtMs);
        hash.update(`${content.digest} `);
        continue;
      }
      if (stats?.isFile() && stats.nlink === 0) blindSpots.push(replacedMountSpot(path));
      try {
        const { bytes } = await readPemFile(path, { maxBytes: MAX_CRL_BYTES });
        hash.update(`${bytes.length} `).update(bytes);
      } catch (error) {
        const { code, message } = error as TlsReloadError;
        if (code === "FILE_NOT_FOUND") missing.push(path);
        hash.update(`${message} `);
      }
    }
    this.digest = hash.digest("hex");
    this.missing = missing;
    this.blindSpots = blindSpots;
    this.changedAt = changedAt > 0 ? new Date(changedAt) : undefined;
    this.readAt = new Date();
    return this.digest;
  }
}
