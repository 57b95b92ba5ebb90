import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Disturbed, DriverReport } from "./driver.ts";
import type { Sample } from "./samples.ts";

/** What happened on one runtime. */
export interface RuntimeRecord {
  /** With its version. */
  name: string;
  readonly counts: Record<string, number>;
  readonly samples: (Sample & { readonly requests: number; readonly swaps: number })[];
  readonly disturbed: Disturbed[];
  readonly violations: string[];
}

const MIB = 1 << 20;

/** Everything that happened in a soak, over all of its parts: a file that a later part continues. */
export class SoakRecord {
  readonly #path: string;
  readonly seed: string;
  minutes: number | undefined;
  readonly runtimes: Record<string, RuntimeRecord>;

  private constructor(path: string, init: Pick<SoakRecord, "seed" | "minutes" | "runtimes">) {
    this.#path = path;
    this.seed = init.seed;
    this.minutes = init.minutes;
    this.runtimes = init.runtimes;
  }

  /** Begins a record. */
  static async begin(path: string, seed: string): Promise<SoakRecord> {
    await mkdir(dirname(path), { recursive: true });
    return new SoakRecord(path, { seed, minutes: undefined, runtimes: {} });
  }

  /** Goes on with a record that was saved before. */
  static async resume(path: string): Promise<SoakRecord> {
    return new SoakRecord(path, JSON.parse(await readFile(path, "utf8")));
  }

  /** How far the soak has come. */
  get elapsedMs(): number {
    return Math.max(0, ...Object.values(this.runtimes).map(({ samples }) => samples.at(-1)?.atMs ?? 0));
  }

  get violations(): string[] {
    return Object.values(this.runtimes).flatMap(({ name, violations }) => violations.map((each) => `${name}: ${each}`));
  }

  /** Adds what a driver says. */
  add(key: string, name: string, { counts, disturbed, samples, violation }: DriverReport): void {
    const own = this.#of(key);
    own.name = name;
    for (const [what, count] of Object.entries(counts)) own.counts[what] = (own.counts[what] ?? 0) + count;
    const [requests, swaps] = [sum(counts, "request "), sum(counts, "swaps ")];
    own.samples.push(...samples.map((sample) => ({ ...sample, requests, swaps })));
    own.disturbed.push(...disturbed);
    if (violation) own.violations.push(violation);
  }

  /** Notes a failure without a report. */
  fail(key: string, reason: string): void {
    const own = this.#of(key);
    if (own.violations.length === 0) own.violations.push(reason);
  }

  #of(key: string): RuntimeRecord {
    return this.runtimes[key] ??= { name: key, counts: {}, samples: [], disturbed: [], violations: [] };
  }

  /** The progress, in one line. */
  line(): string {
    const parts = Object.entries(this.runtimes).map(([key, { counts, samples, disturbed, violations }]) => {
      const last = samples.at(-1);
      const state = violations.length > 0 ? "VIOLATION" : `${disturbed.length} disturbances`;
      return `${key} ${sum(counts, "request ")} requests, ${sum(counts, "swaps ")} swaps, ${state}, ` +
        `${last ? Math.round(last.rssBytes / MIB) : 0} MiB, ${last?.descriptors ?? 0} descriptors`;
    });
    const seconds = Math.round(this.elapsedMs / 1_000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}  ${parts.join(" | ")}`;
  }

  /** All counts, a column for each runtime. */
  table(): string {
    const columns = Object.values(this.runtimes);
    const rows = [...new Set(columns.flatMap(({ counts }) => Object.keys(counts)))].sort()
      .map((name) => [name, ...columns.map(({ counts }) => counts[name] ?? 0)]);
    const ends = (key: "descriptors" | "rssBytes" | "heapBytes", unit: number) =>
      columns.map(({ samples }) => {
        const values = samples.map((sample) => Math.round(sample[key] / unit));
        return values.length > 0 ? `${values[0]} / ${Math.max(...values)} / ${values.at(-1)}` : "";
      });
    rows.push(
      ["descriptors: at the start, at most, at the end", ...ends("descriptors", 1)],
      ["resident MiB: at the start, at most, at the end", ...ends("rssBytes", MIB)],
      ["heap MiB: at the start, at most, at the end", ...ends("heapBytes", MIB)],
    );
    const lines = [["", ...columns.map(({ name }) => name)], ["---", ...columns.map(() => "---:")], ...rows];
    return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  }

  async save(): Promise<void> {
    const { seed, minutes, runtimes } = this;
    await writeFile(`${this.#path}.new`, JSON.stringify({ seed, minutes, runtimes }));
    await rename(`${this.#path}.new`, this.#path);
  }
}

function sum(counts: Readonly<Record<string, number>>, prefix: string): number {
  return Object.entries(counts).reduce((total, [name, count]) => total + (name.startsWith(prefix) ? count : 0), 0);
}
