// What a swap costs the event loop: deno task bench --only swap
import type { Bench } from "./support/bench.ts";
import { probe } from "./support/probe.ts";
import { type Table, TableBuilder } from "./support/report.ts";

const RUNTIMES = ["node", "deno", "bun"] as const;

export async function measureSwap(bench: Bench): Promise<Table[]> {
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
  return [table.build()];
}
