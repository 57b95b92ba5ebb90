// What runs have measured, kept as JSON in bench/results, a file for each part.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Table } from "./report.ts";

/** One run of one part. */
export interface PartResult {
  readonly part: string;
  readonly command: string;
  /** Such as `2026-11-26`. */
  readonly date: string;
  readonly seconds: number;
  /** Such as `linux x64, 2 cores`. */
  readonly system: string;
  /** The runtimes and peers, with their versions. */
  readonly versions: readonly string[];
  readonly rounds: number;
  readonly loadSeconds: number;
  /** What a reader must know about this run, a sentence each. */
  readonly notes: readonly string[];
  readonly tables: readonly Table[];
}

/** Reads the results of a folder by part, in the order of the alphabet. */
export async function readResults(folder: string): Promise<ReadonlyMap<string, PartResult>> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".json")).sort();
  const results = await Promise.all(files.map(async (file): Promise<PartResult> => {
    return JSON.parse(await readFile(join(folder, file), "utf8"));
  }));
  return new Map(results.map((result) => [result.part, result]));
}

export async function writeResult(folder: string, result: PartResult): Promise<void> {
  await writeFile(join(folder, `${result.part}.json`), JSON.stringify(result, rounded));
}

/** What every part has to say: what is true of the whole run. */
export function sharedNotes(results: Iterable<PartResult>): readonly string[] {
  const [first, ...others] = [...results].map(({ notes }) => notes);
  return first?.filter((note) => others.every((notes) => notes.includes(note))) ?? [];
}

/** Four digits are more than a measurement repeats. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(4)) : value;
}
