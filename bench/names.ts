// What many names cost, to load, to reload and to accept: deno task bench --only names
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { issue, issueCa } from "../tests/support/certificates.ts";
import type { Bench } from "./support/bench.ts";
import { GC_FLAGS } from "./support/child.ts";
import { probe } from "./support/probe.ts";
import { type Table, TableBuilder } from "./support/report.ts";

const RUNTIMES = ["node", "deno", "bun"] as const;
const NAMES = 10_000;
const QUICK_NAMES = 200;
const MAX_ROUNDS = 2;
const BLOCKS = 15;
const SETTLED_MS = 5_000;
/** The figures of the probe, and what they are called. */
const LOAD_COLUMNS = {
  readMs: "reading the files, ms",
  firstMs: "first load, ms",
  longestTurnMs: "its longest turn, ms",
  longestSliceMs: "without garbage collection, ms",
  lookMs: "stat of the files, ms",
  reloadMs: "reload, one changed, ms",
  heapMiB: "heap and external, MiB",
  residentMiB: "resident, MiB",
  youngMiB: "of it young generation, MiB",
};
const ACCEPT_COLUMN = "µs per connection";
/** The servers of the probe, and whether they are ours. */
const ACCEPT_ROWS = {
  "tls.createServer": false,
  "one name": true,
  "one name, with onClientHello": true,
  "100 names": true,
  "all names": true,
};

export async function measureNames(bench: Bench): Promise<Table[]> {
  const count = bench.isQuick ? QUICK_NAMES : NAMES;
  const folder = await writePairs(join(await bench.folder(), "names"), count);
  const [loads, accepts] = [loadTable(count), acceptTable(count)];
  for (let round = 0; round < Math.min(bench.rounds, MAX_ROUNDS); round++) {
    for (const name of RUNTIMES) {
      // Files that have just been written may change unnoticed, so that they are read again.
      await delay(SETTLED_MS);
      const runtime = bench.runtimes[name];
      const args = ["names", folder, String(count), bench.runtimes.node.path, String(bench.isQuick ? 3 : BLOCKS)];
      const figures = await probe({ ...runtime, runArgs: [...runtime.runArgs, ...GC_FLAGS[name]] }, args);
      for (const [key, column] of Object.entries(LOAD_COLUMNS)) {
        if (figures[key] !== undefined) loads.add(name, column, figures[key]);
      }
      for (const key of Object.keys(ACCEPT_ROWS)) accepts.add(`${name}: ${key}`, ACCEPT_COLUMN, figures[key]!);
    }
  }
  return [loads.build(), accepts.build()];
}

function loadTable(count: number): TableBuilder {
  const table = new TableBuilder({
    title: `${count} names`,
    about: `\`loadTlsConfig()\` of ${count} pairs, in a process that has read their files before. A turn is the time ` +
      "in which nothing else runs on the event loop; only Node says how much of it is garbage collection. Memory is " +
      "what the process has more than before, after 100 of the names have been asked for. The young generation of V8 " +
      "grows once for everything that a process does.",
    columns: Object.values(LOAD_COLUMNS).map((name) => ({ name, isCompared: false })),
  });
  for (const name of RUNTIMES) table.row({ name, isOurs: true });
  return table;
}

function acceptTable(count: number): TableBuilder {
  const table = new TableBuilder({
    title: "Accepting by name",
    about: "Processor time of a server for a fresh connection, in turns within one process. Ratios are to a state " +
      `with one name, whose ClientHello is not read. Of ${count} names, 100 are in use.`,
    columns: [{ name: ACCEPT_COLUMN }],
  });
  for (const runtime of RUNTIMES) {
    for (const [key, isOurs] of Object.entries(ACCEPT_ROWS)) {
      table.row({ name: `${runtime}: ${key}`, base: `${runtime}: one name`, isOurs });
    }
  }
  return table;
}

/** Writes a P-256 pair for each name. All of them are issued by the same intermediate. */
async function writePairs(folder: string, count: number): Promise<string> {
  await mkdir(folder);
  const issuer = await issueCa("intermediate", { issuer: await issueCa("root") });
  for (let index = 0; index < count; index++) {
    const name = `n${index}.test`;
    const { cert, key } = await issue(name, { issuer, names: [{ type: "dns", value: name }] });
    await writeFile(join(folder, `${name}.crt`), cert);
    await writeFile(join(folder, `${name}.key`), key);
  }
  return folder;
}
