// The loads: wrk for HTTP/1.1, h2load for HTTP/2, and a client of ours for WebSockets, each a process of its own.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Bench } from "./bench.ts";
import { runClient } from "./probe.ts";

/** The outcome of a load. */
export interface Load {
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly mibPerSecond: number;
}

/** Puts load on the server at a port, which the notes call by this name. */
export type LoadKind = (bench: Bench, name: string, port: number) => Promise<Load>;

/** Which requests wrk makes. */
export interface HttpLoadOptions {
  /** How many bytes are asked for. */
  readonly size: number;
  /** Whether each request has a connection and a handshake of its own. */
  readonly isFresh?: boolean;
  /** @default {16} */
  readonly connections?: number;
}

const STREAMS = 16;
const UNITS: Record<string, number> = { us: 1e-3, ms: 1, s: 1e3, B: 2 ** -20, KB: 2 ** -10, MB: 1, GB: 2 ** 10 };
const run = promisify(execFile);

export function http(options: HttpLoadOptions): LoadKind {
  const { size, isFresh = false, connections = 16 } = options;
  const header = isFresh ? ["-H", "Connection: close"] : [];
  return async (bench, name, port) => {
    const args = ["-t1", `-c${connections}`, `-d${bench.seconds}s`, "--latency", ...header];
    const { stdout } = await run("wrk", [...args, `https://127.0.0.1:${port}/${size}${isFresh ? "/fresh" : ""}`]);
    const failed = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(stdout)?.[0];
    if (failed) bench.notes.add(`${name}, ${isFresh ? "fresh connections" : `${size} B`}: ${failed}`);
    return {
      perSecond: find(stdout, /Requests\/sec:\s+([\d.]+)/),
      p99Ms: find(stdout, /99%\s+([\d.]+)(\w+)/),
      mibPerSecond: find(stdout, /Transfer\/sec:\s+([\d.]+)(\w+)/),
    };
  };
}

/** Streams of HTTP/2, many at a time on each of few connections. */
export const http2: LoadKind = async (bench, name, port) => {
  const args = ["-c4", `-m${STREAMS}`, `-D${bench.seconds}`, "--warm-up-time=200ms"];
  const { stdout } = await run("h2load", [...args, `https://127.0.0.1:${port}/200`]);
  const [, failed = "0", errored = "0"] = /(\d+) failed, (\d+) errored/.exec(stdout) ?? [];
  if (Number(failed) + Number(errored) > 0) bench.notes.add(`${name}, HTTP/2: ${failed} failed, ${errored} errored`);
  return { perSecond: find(stdout, /([\d.]+) req\/s/), p99Ms: NaN, mibPerSecond: NaN };
};

export const webSocket: LoadKind = async (bench, _name, port) => {
  const { perSecond = NaN } = await runClient(bench, "messages.ts", [port, bench.seconds]);
  return { perSecond, p99Ms: NaN, mibPerSecond: NaN };
};

function find(text: string, pattern: RegExp): number {
  const [, number = "NaN", unit = ""] = pattern.exec(text) ?? [];
  return Number(number) * (UNITS[unit] ?? 1);
}
