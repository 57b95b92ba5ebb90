// Load by wrk, which is in C and a process of its own.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Bench } from "./bench.ts";

/** What a load came to. */
export interface Load {
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly mibPerSecond: number;
}

/** Which requests are made. */
export interface LoadOptions {
  /** How many bytes are asked for. */
  readonly size: number;
  /** Whether each request has a connection and a handshake of its own. */
  readonly isFresh?: boolean;
  /** @default {16} */
  readonly connections?: number;
}

const UNITS: Record<string, number> = { us: 1e-3, ms: 1, s: 1e3, B: 2 ** -20, KB: 2 ** -10, MB: 1, GB: 2 ** 10 };
const run = promisify(execFile);

export async function load(bench: Bench, name: string, port: number, options: LoadOptions): Promise<Load> {
  const { size, isFresh = false, connections = 16 } = options;
  const args = ["-t1", `-c${connections}`, `-d${bench.seconds}s`, "--latency"];
  if (isFresh) args.push("-H", "Connection: close");
  const { stdout } = await run("wrk", [...args, `https://127.0.0.1:${port}/${size}${isFresh ? "/fresh" : ""}`]);
  const find = (pattern: RegExp) => {
    const [, number = "NaN", unit = ""] = pattern.exec(stdout) ?? [];
    return Number(number) * (UNITS[unit] ?? 1);
  };
  const failed = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(stdout)?.[0];
  if (failed) bench.notes.add(`${name}, ${isFresh ? "fresh connections" : `${size} B`}: ${failed}`);
  return {
    perSecond: find(/Requests\/sec:\s+([\d.]+)/),
    p99Ms: find(/99%\s+([\d.]+)(\w+)/),
    mibPerSecond: find(/Transfer\/sec:\s+([\d.]+)(\w+)/),
  };
}
