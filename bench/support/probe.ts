// Runs probes and clients, each in a process of its own that prints its figures as JSON.
import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Runtime } from "../../tests/support/runtimes.ts";
import type { Bench } from "./bench.ts";

const PROBES = fileURLToPath(new URL("probes.ts", import.meta.url));
const CLIENTS = fileURLToPath(new URL("../clients/", import.meta.url));
const run = promisify(execFile);

/** What one of `probes.ts` found on a runtime. */
export function probe(runtime: Runtime, args: readonly string[], env?: Record<string, string>) {
  return figures(runtime.path, [...runtime.runArgs, PROBES, ...args], env);
}

/** What one of `go_peer.go` found. */
export async function probeGo(bench: Bench, args: readonly string[], env?: Record<string, string>) {
  return await figures(await bench.goPeer(), args, env);
}

/** What one of `clients/` found: on Node, whatever the server runs on. */
export function runClient({ runtimes: { node } }: Bench, file: string, args: readonly (string | number)[]) {
  return figures(node.path, [...node.runArgs, join(CLIENTS, file), ...args.map(String)]);
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
