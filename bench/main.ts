// Measures this library beside its peers, in turns within one run, and writes bench/results: deno task bench
//   --only PART         just this part of parts.ts; may be repeated
//   --rounds N          how often everything is measured in turn (5)
//   --seconds N         how long each load lasts (1)
//   --quick             one short round of less, to see that it works
//   --dry               prints what was measured, and writes nothing; so do --quick and --against
//   --note TEXT         what a reader must know about this run
//   --write             measures nothing: writes the pages that show the results, README.md among them
//   --against COMMAND   rotates the certificates of a server of yours, see docs/bench.md
//   --reload COMMAND    tells that server of new files; without it, --signal NAME (SIGHUP) does
// Needs Linux and wrk; nginx, HAProxy, hitch, Caddy, Go, h2load, etcd, Redis and NATS take part where they are installed.
import { availableParallelism } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { measureAgainst } from "./against.ts";
import { PARTS } from "./parts.ts";
import { type Bench, openBench, versionsOf } from "./support/bench.ts";
import { stopChildren } from "./support/child.ts";
import { RESULTS, writePages } from "./support/pages.ts";
import { type Table, toMarkdown } from "./support/report.ts";
import { type PartResult, writeResult } from "./support/results.ts";

const { values: args } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: Object.keys(PARTS) },
    rounds: { type: "string" },
    seconds: { type: "string", default: "1" },
    quick: { type: "boolean", default: false },
    dry: { type: "boolean", default: false },
    note: { type: "string", multiple: true, default: [] },
    write: { type: "boolean", default: false },
    against: { type: "string" },
    reload: { type: "string" },
    signal: { type: "string", default: "SIGHUP" },
  },
});
const unknown = args.only.find((name) => !(name in PARTS));
if (unknown) {
  throw new TypeError(`Cannot measure: '--only' must be one of ${Object.keys(PARTS).join(", ")}: ${unknown}`);
}
const isDry = args.dry || args.quick || args.against !== undefined;

if (args.write) {
  await writePages();
} else {
  const bench = await openBench({
    rounds: Number(args.rounds ?? (args.quick ? 1 : 5)),
    seconds: Number(args.seconds),
    isQuick: args.quick,
  });
  const close = async () => {
    await stopChildren();
    await bench.close();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void close().then(() => process.exit(1)));
  }
  await measureAll(bench).finally(close);
}
process.exit();

async function measureAll(bench: Bench): Promise<void> {
  const { against: command, reload, signal } = args;
  if (command !== undefined) return print(await measureAgainst(bench, { command, reload, signal }));
  if (!bench.peers.has("wrk")) throw new Error("Cannot measure: wrk is not installed");
  for (const part of args.only) {
    const result = await measurePart(bench, part);
    print(result.tables);
    for (const note of result.notes) console.log(note);
    console.error(`${part}: ${result.seconds} s`);
    if (!isDry && result.tables.length > 0) await writeResult(RESULTS, result);
  }
  if (!isDry) await writePages();
}

async function measurePart(bench: Bench, part: string): Promise<PartResult> {
  const start = new Date();
  bench.notes.clear();
  for (const note of args.note) bench.notes.add(note);
  let tables: Table[] = [];
  try {
    tables = await PARTS[part]!(bench);
  } catch (error) {
    // The other parts are worth no less for it.
    console.error(`${part} could not be measured:`, error);
    process.exitCode = 1;
    await stopChildren();
  }
  return {
    part,
    command: commandOf(part),
    date: start.toISOString().slice(0, 10),
    seconds: Math.round((Date.now() - start.getTime()) / 1000),
    system: `${process.platform} ${process.arch}, ${availableParallelism()} cores`,
    versions: versionsOf(bench),
    rounds: bench.rounds,
    loadSeconds: bench.seconds,
    notes: [...bench.notes],
    tables,
  };
}

/** What measures this part in the same way. */
function commandOf(part: string): string {
  const { rounds, seconds } = args;
  return `deno task bench --only ${part}${rounds ? ` --rounds ${rounds}` : ""}${
    seconds === "1" ? "" : ` --seconds ${seconds}`
  }`;
}

function print(tables: readonly Table[]): void {
  console.log(tables.map(toMarkdown).join("\n"));
}
