// Runs the probes, each in a process of its own.
import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Runtime } from "../../tests/support/runtimes.ts";
import type { Bench } from "./bench.ts";

const PROBES = fileURLToPath(new URL("probes.ts", import.meta.url));
const run = promisify(execFile);

/** What one of `probes.ts` found on a runtime. */
export function probe(runtime: Runtime, args: readonly string[], env?: Record<string, string>) {
  return figures(runtime.path, [...runtime.runArgs, PROBES, ...args], env);
}

/** What one of `go_peer.go` found. */
export function probeGo({ goPeer }: Bench, args: readonly string[], env?: Record<string, string>) {
  return figures(goPeer!, args, env);
}

async function figures(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Record<string, number>> {
  // Where roots are is for each probe to find, or to be told.
  const { SSL_CERT_FILE: _, SSL_CERT_DIR: __, ...rest } = process.env;
  const { stdout } = await run(program, args, { env: { ...rest, ...env } as Record<string, string> });
  return JSON.parse(stdout);
}
