// Measures everything beside its peers, in turns within one run, and writes bench/results: deno task bench
//   --only NAME      just this part: accept, native, rotation, swap, loading, names, roots, reload or fleet; may be repeated
//   --rounds N       how often everything is measured in turn (5)
//   --seconds N      how long each load lasts (1)
//   --quick          one short round, to see that it works
//   --variant NAME   a server beside the usual ones, see native_servers.ts; may be repeated
//   --out FOLDER     where to write; without it, a run that is not a whole one is printed and not written
// Needs wrk; nginx, HAProxy, hitch, Caddy, Go, etcd, Redis and NATS take part if they are installed.
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { measureAcceptPath } from "./accept.ts";
import { measureFleet } from "./fleet.ts";
import { measureLoading } from "./loading.ts";
import { measureNames } from "./names.ts";
import { measureNativeServers } from "./native_servers.ts";
import { measureReload } from "./reload.ts";
import { measureRoots } from "./roots.ts";
import { measureRotation } from "./rotation.ts";
import { measureSwap } from "./swap.ts";
import { type Bench, openBench, PEER_NAMES } from "./support/bench.ts";
import { toSvg } from "./support/chart.ts";
import { stopChildren } from "./support/child.ts";
import { chartOf, type Table, toMarkdown } from "./support/report.ts";

const PARTS: Record<string, (bench: Bench) => Promise<Table[]>> = {
  accept: measureAcceptPath,
  native: measureNativeServers,
  rotation: measureRotation,
  swap: measureSwap,
  loading: measureLoading,
  names: measureNames,
  roots: measureRoots,
  reload: measureReload,
  fleet: measureFleet,
};
const RESULTS = fileURLToPath(new URL("results/", import.meta.url));

const { values: args } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: Object.keys(PARTS) },
    rounds: { type: "string" },
    seconds: { type: "string", default: "1" },
    quick: { type: "boolean", default: false },
    variant: { type: "string", multiple: true, default: [] },
    out: { type: "string" },
  },
});
const unknown = args.only.find((name) => !(name in PARTS));
if (unknown) {
  throw new TypeError(`Cannot measure: '--only' must be one of ${Object.keys(PARTS).join(", ")}: ${unknown}`);
}

const isWhole = !args.quick && Object.keys(PARTS).every((name) => args.only.includes(name));
const out = args.out ?? (isWhole ? RESULTS : undefined);
const start = new Date();
const bench = await openBench({
  rounds: Number(args.rounds ?? (args.quick ? 1 : 5)),
  seconds: Number(args.seconds),
  isQuick: args.quick,
  variants: args.variant,
});
const close = async () => {
  await stopChildren();
  await bench.close();
};
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void close().then(() => process.exit(1)));
try {
  if (!bench.peers.has("wrk")) throw new Error("Cannot measure: wrk is not installed");
  const tables: Table[] = [];
  for (const name of args.only) {
    const from = performance.now();
    try {
      tables.push(...await PARTS[name]!(bench));
    } catch (error) {
      // The other parts are worth no less for it.
      bench.notes.add(`${name} could not be measured: ${error instanceof Error ? error.message : error}`);
      process.exitCode = 1;
      await stopChildren();
    }
    console.error(`${name}: ${((performance.now() - from) / 1000).toFixed(0)} s`);
    if (out) await save(out, tables);
  }
  console.log(toReport(tables));
} finally {
  await close();
}
process.exit();

async function save(folder: string, tables: readonly Table[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "README.md"), toReport(tables));
  for (const table of tables) {
    const chart = chartOf(table);
    if (chart) await writeFile(join(folder, chart), table.picture ?? toSvg(table));
  }
}

function toReport(tables: readonly Table[]): string {
  const { runtimes, peers, notes, rounds, seconds } = bench;
  const names = Object.values(runtimes).filter((runtime) => runtime !== undefined).map(({ name }) => name);
  const versions = PEER_NAMES.map((name) => `${name} ${peers.get(name) ?? "absent"}`);
  // Where it was written is of no interest, and is a path of this machine.
  const command = ["deno task bench", ...process.argv.slice(2)].join(" ").replace(/ --out[ =]\S+/, "");
  const minutes = (Date.now() - start.getTime()) / 60_000;
  return `# Measured

\`${command}\`, ${start.toISOString().slice(0, 10)}, ${
    minutes.toFixed(0)
  } minutes; ${process.platform} ${process.arch}, \
${availableParallelism()} cores, which servers and clients share.

- ${names.join(", ")}
- ${versions.join(", ")}

Each figure is the median of ${rounds} rounds of ${seconds} s, in which everything that a table holds is measured in turn; in
brackets the least and the most. **×** is the median of the ratios within each round. Ours are bold.

${tables.map(toMarkdown).join("\n")}${
    notes.size > 0 ? `\n## Noted\n\n${[...notes].map((note) => `- ${note}`).join("\n")}\n` : ""
  }`;
}
