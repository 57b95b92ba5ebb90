// Drains many connections of each kind of server on every runtime, one after the other; reports, and fails if a connection
// was lost, or a drain came in one burst:
//   deno task soak:drain [--connections 5000] [--runtime deno|bun|node22|node24|all] [--kind http2]
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { deno, installRuntimes, type Runtime } from "../support/runtimes.ts";
import type { DrainReport } from "./drain_clients.ts";

const SERVER = fileURLToPath(new URL("drain_server.ts", import.meta.url));
const CLIENTS = fileURLToPath(new URL("drain_clients.ts", import.meta.url));
const IMPORT_MAP = fileURLToPath(new URL("../std/import_map.json", import.meta.url));
/** The share of the connections that may end in one second. */
const MAX_SHARE = 0.15;
/** Bun can close idle connections only together, which is done when the time of a drain is over. */
const CLOSES_IDLE_TOGETHER = "serve() of ./bun";

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "5000" },
    runtime: { type: "string", default: "all" },
    kind: { type: "string", default: "" },
  },
});
const { bun, node22, node } = await installRuntimes();
const runtimes: Readonly<Record<string, Runtime>> = { deno, bun, node22, node24: node };

/** A program that writes lines, with as many descriptors as the system gives. */
function start({ path, runArgs }: Runtime, ...args: readonly string[]) {
  const importMap = path === deno.path ? ["--no-check", "--quiet", `--import-map=${IMPORT_MAP}`] : [];
  const command = ["-c", 'ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"', path, ...runArgs, ...importMap, ...args];
  const child = spawn("sh", command, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    tell: (line: string) => child.stdin.write(`${line}\n`),
    async hear(): Promise<string | undefined> {
      const { value, done } = await lines.next();
      return done ? undefined : value;
    },
    end: () => child.stdin.end(),
  };
}

const failures: string[] = [];

async function drain(runtime: Runtime, kind: string): Promise<void> {
  const server = start(runtime, SERVER, "drain", kind);
  const begin = await server.hear();
  const clients = start(node, CLIENTS, values.connections);
  clients.tell(begin!);
  await clients.hear();
  server.tell("swap");
  await server.hear();
  clients.tell("go");
  const { perSecond, failed }: DrainReport = JSON.parse((await clients.hear())!);
  server.end();
  clients.end();
  const ended = perSecond.reduce((sum, count) => sum + count, 0);
  const share = Math.max(...perSecond) / ended;
  console.log(
    `${runtime.name.padEnd(14)} drain ${kind.padEnd(20)} ${ended} of ${values.connections} ended, ${failed} failed, ` +
      `at most ${(100 * share).toFixed(1)} % in a second: ${perSecond.join(" ")}`,
  );
  const isBurst = share > MAX_SHARE && kind !== CLOSES_IDLE_TOGETHER;
  if (isBurst || failed > 0 || ended !== Number(values.connections)) {
    failures.push(`${runtime.name}: drain of ${kind}`);
  }
}

async function kindsOf(runtime: Runtime): Promise<string[]> {
  const program = start(runtime, SERVER, "kinds");
  return JSON.parse((await program.hear())!);
}

for (const [name, runtime] of Object.entries(runtimes)) {
  if (values.runtime !== "all" && values.runtime !== name) continue;
  for (const kind of await kindsOf(runtime)) {
    if (kind.includes(values.kind)) await drain(runtime, kind);
  }
}
for (const failure of failures) console.log(`FAILED ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;
