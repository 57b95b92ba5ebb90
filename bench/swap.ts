// What a swap costs the event loop: deno task bench --only swap
import type { Bench } from "./support/bench.ts";
import { LineChild } from "./support/child.ts";
import { hold } from "./support/hold.ts";
import { probe } from "./support/probe.ts";
import { type Table, TableBuilder } from "./support/report.ts";

const RUNTIMES = ["node", "deno", "bun"] as const;

/** Servers that a swap costs more than a reference. */
const SERVERS = [
  ["bun", "serve() of ./bun"],
  ["bun", "https.createServer and attach()"],
  ["deno", "serve() of ./deno"],
  ["deno", "listenTls() of ./deno"],
  ["node", "https.createServer and attach()"],
] as const;
const SWAPS = 11;

export async function measureSwap(bench: Bench): Promise<Table[]> {
  return [await timeSwaps(bench), await watchSwaps(bench)];
}

async function timeSwaps(bench: Bench): Promise<Table> {
  const columns = { plainUs: "swap(), µs", clientAuthUs: "with client authentication, µs" };
  const table = new TableBuilder({
    title: "The swap",
    about:
      "What a swap of a configuration that has been proved costs a state without native servers: the median of a " +
      "call. It does not depend on how many connections are open.",
    columns: Object.values(columns).map((name) => ({ name, isCompared: false })),
  });
  const folder = await bench.folder();
  for (const runtime of RUNTIMES) table.row({ name: runtime, isOurs: true });
  for (let round = 0; round < bench.rounds; round++) {
    for (const runtime of RUNTIMES) {
      const figures = await probe(bench.runtimes[runtime], ["swap", folder]);
      for (const [key, column] of Object.entries(columns)) table.add(runtime, column, figures[key]!);
    }
  }
  return table.build();
}

async function watchSwaps(bench: Bench): Promise<Table> {
  const counts = bench.isQuick ? [100] : [100, 10_000];
  const columnOf = (count: number) => `${count.toLocaleString("en")} connections, ms`;
  const table = new TableBuilder({
    title: "How long a swap blocks",
    about: "The longest time for which the event loop of a server could do nothing else around a swap, while so many " +
      `idle connections are open: the median of ${SWAPS} swaps.`,
    columns: counts.map((count) => ({ name: columnOf(count), isCompared: false })),
  });
  for (const [runtime, kind] of SERVERS) {
    const name = `${runtime}: ${kind}`;
    table.row({ name, isOurs: true });
    const child = await LineChild.server(bench.runtimes[runtime], kind, await bench.folder());
    for (const count of counts) {
      await hold(bench, name, child.port, count, async () => {
        for (let swap = 0; swap < SWAPS; swap++) table.add(name, columnOf(count), Number(await child.ask("block")));
      });
    }
    await child.stop();
  }
  return table.build();
}
