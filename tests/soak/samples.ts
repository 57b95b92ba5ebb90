// What the server process holds, and how much of it is too much.
import { setTimeout as delay } from "node:timers/promises";
import type { Measure } from "./server.ts";
import type { ServerProcess } from "./server_process.ts";
import { Violation } from "./soak_run.ts";

/** What the server process held at some time. */
export interface Sample extends Measure {
  /** In milliseconds of the whole soak. */
  readonly atMs: number;
  readonly descriptors: number;
}

const MIB = 1 << 20;
/** Generous, because the halves are no more alike than their choices. */
const LIMITS = [
  { key: "heapBytes", ratio: 1.25, slack: 16 * MIB },
  { key: "rssBytes", ratio: 1.25, slack: 64 * MIB },
  { key: "descriptors", ratio: 1.5, slack: 50 },
] as const;
/** Fewer samples say nothing. */
const LEAST_SAMPLES = 20;

const MOST_DESCRIPTORS = 800;
const SETTLE_MS = 60_000;
/** What a runtime opens once and keeps. */
const SPARE_DESCRIPTORS = 20;

/** What the server holds now, if it can tell. */
export async function sampleOf(server: ServerProcess, atMs: number): Promise<Sample | undefined> {
  const descriptors = await server.descriptors();
  if (descriptors > MOST_DESCRIPTORS) throw new Violation(`too many file descriptors: ${descriptors}`);
  const measure = await server.measure();
  return measure ? { atMs, ...measure, descriptors } : undefined;
}

/** All connections have ended: the server must come to hold what it held before the first one. */
export async function settle(server: ServerProcess, first: Sample): Promise<void> {
  const until = performance.now() + SETTLE_MS;
  for (;;) {
    const now = await sampleOf(server, 0);
    if (now && now.descriptors <= first.descriptors + SPARE_DESCRIPTORS && now.generations === 1) return;
    if (performance.now() > until) {
      throw new Violation(
        `something is left when all is over: ${now?.descriptors} file descriptors, ${first.descriptors} at the start; ` +
          `connections of generations: ${now?.held.join("; ")}`,
      );
    }
    await delay(200);
  }
}

/** Compares the two halves of the time after a warm-up. */
export function requireFlat(samples: readonly Sample[]): void {
  const steady = samples.slice(Math.ceil(samples.length / 5));
  if (steady.length < LEAST_SAMPLES) return;
  const [early, late] = [steady.slice(0, steady.length / 2), steady.slice(steady.length / 2)];
  for (const { key, ratio, slack } of LIMITS) {
    const [before, after] = [early, late].map((half) => median(half.map((sample) => sample[key]))) as [number, number];
    if (after > before * ratio + slack) throw new Violation(`${key} grows: median ${before}, later ${after}`);
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
