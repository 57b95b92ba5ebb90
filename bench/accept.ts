// What it costs to accept through a TlsState: deno task bench --only accept
import type { Bench } from "./support/bench.ts";
import { GC_FLAGS, LineChild } from "./support/child.ts";
import { goServer } from "./support/peers.ts";
import { probe } from "./support/probe.ts";
import { type Table, TableBuilder } from "./support/report.ts";
import { peer, server, startAll, type Subject } from "./support/subject.ts";
import { http } from "./support/loads.ts";

const RUNTIMES = ["node", "deno", "bun"] as const;
const FRESH = "fresh connections per second";
const FRESH_P99 = "their p99 ms";
const KEEP_ALIVE = "keep-alive requests per second, 200 B";
const SWAPS = 10_000;

const fresh = http({ size: 200, isFresh: true });
const keepAlive = http({ size: 200 });

export async function measureAcceptPath(bench: Bench): Promise<Table[]> {
  return [await compare(bench), await timeSnapshots(bench), await weighSwaps(bench)];
}

async function compare(bench: Bench): Promise<Table> {
  const table = new TableBuilder({
    title: "Accept path",
    about:
      "Each beside what the same runtime does without us: the handshake and one small answer on a fresh connection " +
      "each, and HTTP over connections that stay. 16 clients.",
    columns: [{ name: FRESH, isCharted: true }, { name: FRESH_P99 }, { name: KEEP_ALIVE, isCharted: true }],
  });
  const columns = new Map<Subject, string>();
  for (const runtime of RUNTIMES) {
    for (
      const [column, native, ours] of [
        [FRESH, "tls.createServer", "TlsAcceptor"],
        [KEEP_ALIVE, "https.createServer", "TlsAcceptor and node:http"],
      ] as const
    ) {
      const base = `${runtime}: ${native}`;
      table.row({ name: base, base });
      table.row({ name: `${runtime}: ${ours}`, isOurs: true, base });
      columns.set(server(runtime, native, { name: base }), column);
      columns.set(server(runtime, ours, { name: `${runtime}: ${ours}`, isOurs: true }), column);
    }
  }
  const go = peer("Go", goServer, "Go: http.Server with GetCertificate");
  columns.set(go, FRESH);
  const { running, absent, stop } = await startAll(bench, [...columns.keys()]);
  if (running.has(go)) table.row({ name: go.name, base: go.name });
  table.absent.push(...absent);
  for (let round = 0; round < bench.rounds; round++) {
    for (const [subject, { port }] of running) {
      const column = columns.get(subject)!;
      const { perSecond, p99Ms } = await (column === FRESH ? fresh : keepAlive)(bench, subject.name, port);
      table.add(subject.name, column, perSecond);
      if (column === FRESH) table.add(subject.name, FRESH_P99, p99Ms);
    }
  }
  await stop();
  return table.build();
}

async function timeSnapshots(bench: Bench): Promise<Table> {
  const columns = { acceptorNs: "state.acceptor(), ns", currentNs: "state.current(), ns" };
  const table = new TableBuilder({
    title: "The snapshot",
    about: "What each accepted connection pays for being able to change: the median of a call.",
    columns: Object.values(columns).map((name) => ({ name, isCompared: false })),
  });
  const folder = await bench.folder();
  for (const runtime of RUNTIMES) table.row({ name: runtime, isOurs: true });
  for (let round = 0; round < bench.rounds; round++) {
    for (const runtime of RUNTIMES) {
      const figures = await probe(bench.runtimes[runtime], ["snapshot", folder]);
      for (const [key, column] of Object.entries(columns)) table.add(runtime, column, figures[key]!);
    }
  }
  return table.build();
}

async function weighSwaps(bench: Bench): Promise<Table> {
  const swaps = bench.isQuick ? SWAPS / 10 : SWAPS;
  const [without, within] = ["no swap", `${swaps} swaps`];
  const table = new TableBuilder({
    title: "Memory",
    about: "Heap and external memory in MiB that a server has more after a load of fresh connections than before it.",
    columns: [without, within].map((name) => ({ name, isCompared: false })),
  });
  const folder = await bench.folder();
  const loads = bench.isQuick ? 1 : 3;
  for (const runtime of RUNTIMES) {
    table.row({ name: `${runtime}: TlsAcceptor`, isOurs: true });
    for (const column of [without, within]) {
      const child = await LineChild.server(bench.runtimes[runtime], "TlsAcceptor", folder, {
        flags: GC_FLAGS[runtime],
      });
      const loadAll = async (count: number) => {
        for (let index = 0; index < count; index++) {
          await fresh(bench, "memory", child.port);
        }
      };
      await loadAll(1);
      const before = await child.heapMiB();
      const loading = loadAll(loads);
      for (let count = 0; column === within && count < swaps; count++) await child.swap();
      await loading;
      table.add(`${runtime}: TlsAcceptor`, column, await child.heapMiB() - before);
      await child.stop();
    }
  }
  return table.build();
}
