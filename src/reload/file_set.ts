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

  constructor(paths: readonly string[]) {
    this.paths = [...new Set(paths.map((path) => resolve(path)))];
  }

  /** Reads the files. An error counts as content, because a file that becomes readable is a change. */
  async read(): Promise<string> {
    const reading = new Reading();
    for (const path of this.paths) await reading.add(path);
    this.digest = reading.hash.digest("hex");
    this.missing = reading.missing;
    this.blindSpots = reading.blindSpots;
    this.changedAt = reading.changedAtMs > 0 ? new Date(reading.changedAtMs) : undefined;
    this.readAt = new Date();
    return this.digest;
  }
}

/** The findings of one reading so far. */
class Reading {
  readonly hash = createHash("sha256");
  readonly missing: string[] = [];
  readonly blindSpots: string[] = [];
  changedAtMs = 0;

  async add(path: string): Promise<void> {
    const stats = await stat(path).catch(() => undefined);
    this.#changed(stats?.mtimeMs ?? 0);
    if (stats?.isFIFO()) {
      // Reading would consume the content before `load` reads it.
      this.blindSpots.push(fifoSpot(path));
      return;
    }
    if (stats?.isDirectory()) return await this.#addFolder(path);
    if (stats?.isFile() && stats.nlink === 0) this.blindSpots.push(replacedMountSpot(path));
    await this.#addFile(path);
  }

  async #addFolder(path: string): Promise<void> {
    const content = await lookAtFolder(path).catch(({ message }: Error) => ({ digest: message, changedAtMs: 0 }));
    this.#changed(content.changedAtMs);
    this.hash.update(`${content.digest} `);
  }

  async #addFile(path: string): Promise<void> {
    try {
      const { bytes } = await readPemFile(path, { maxBytes: MAX_CRL_BYTES });
      this.hash.update(`${bytes.length} `).update(bytes);
    } catch (error) {
      const { code, message } = error as TlsReloadError;
      if (code === "FILE_NOT_FOUND") this.missing.push(path);
      this.hash.update(`${message} `);
    }
  }

  #changed(atMs: number): void {
    this.changedAtMs = Math.max(this.changedAtMs, atMs);
  }
}
