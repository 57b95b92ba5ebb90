import { hash } from "node:crypto";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { forEachConcurrently } from "../concurrently.ts";
import type { TlsReloadError } from "../errors.ts";
import { MAX_CRL_BYTES } from "../x509/crl.ts";
import { readPemFile } from "../x509/pem_file.ts";
import { fifoSpot, replacedMountSpot } from "./blind_spots.ts";
import { lookAtFolder } from "./folder.ts";

/** A file or folder at one reading. */
interface Place {
  /** A digest of the bytes, or of the names and times in the folder; the error if it cannot be read. */
  readonly content: string;
  readonly isMissing?: boolean;
  /** The reason why its changes cannot be noticed. */
  readonly blindSpot?: string;
  /** Milliseconds since 1970. */
  readonly changedAtMs: number;
}

/** The number of files that are read at once. */
const READERS = 8;

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
    const places: Place[] = [];
    await forEachConcurrently(this.paths, READERS, async (path, index) => {
      places[index] = await placeAt(path);
    });
    const changedAtMs = places.reduce((latest, place) => Math.max(latest, place.changedAtMs), 0);
    this.digest = hash("sha256", JSON.stringify(places.map(({ content }) => content)));
    this.missing = this.paths.filter((_, index) => places[index]!.isMissing);
    this.blindSpots = places.flatMap(({ blindSpot }) => blindSpot ?? []);
    this.changedAt = changedAtMs > 0 ? new Date(changedAtMs) : undefined;
    this.readAt = new Date();
    return this.digest;
  }
}

async function placeAt(path: string): Promise<Place> {
  const stats = await stat(path).catch(() => undefined);
  const changedAtMs = stats?.mtimeMs ?? 0;
  // Reading a FIFO would consume the content before `load` reads it.
  if (stats?.isFIFO()) return { content: "", changedAtMs, blindSpot: fifoSpot(path) };
  if (stats?.isDirectory()) {
    const folder = await lookAtFolder(path).catch(({ message }: Error) => ({ digest: message, changedAtMs: 0 }));
    return { content: folder.digest, changedAtMs: Math.max(changedAtMs, folder.changedAtMs) };
  }
  const file = await readFile(path);
  return stats?.isFile() && stats.nlink === 0
    ? { ...file, changedAtMs, blindSpot: replacedMountSpot(path) }
    : { ...file, changedAtMs };
}

async function readFile(path: string): Promise<Pick<Place, "content" | "isMissing">> {
  try {
    const { bytes } = await readPemFile(path, { maxBytes: MAX_CRL_BYTES });
    return { content: hash("sha256", bytes) };
  } catch (error) {
    const { code, message } = error as TlsReloadError;
    return { content: message, isMissing: code === "FILE_NOT_FOUND" };
  }
}
