// What it costs to load a pair, to check it and to prove it: deno task bench --only loading
import { issueServer } from "../tests/support/certificates.ts";
import type { Bench } from "./support/bench.ts";
import { probe, probeGo } from "./support/probe.ts";
import { type Table, TableBuilder } from "./support/report.ts";

const RUNTIMES = ["node", "deno", "bun"] as const;
const BARE = "createSecureContext() of what was read";
/** What the figures of the probe are called. */
const WAYS = {
  bare: BARE,
  check: "new TlsConfig(), checked",
  prove: "proveTlsConfig()",
  load: "loadTlsConfig(), checked and proved",
  first: "the first loadTlsConfig() of a process",
};

export async function measureLoading(bench: Bench): Promise<Table[]> {
  const kinds = {
    "P-256": await bench.folder(),
    "RSA 2048": await bench.folder([
      await issueServer("first", { algorithm: "RSA" }),
      await issueServer("second", { algorithm: "RSA" }),
    ]),
  };
  const table = new TableBuilder({
    title: "Load and proof",
    about:
      "Milliseconds, the median of 50 in a process. Ratios are to what the same runtime does with two files that it " +
      "does not check.",
    columns: Object.keys(kinds).map((name) => ({ name, isCharted: true })),
  });
  for (const runtime of RUNTIMES) {
    for (const way of Object.values(WAYS)) {
      table.row({ name: `${runtime}: ${way}`, base: `${runtime}: ${BARE}`, isOurs: way !== BARE });
    }
  }
  const go = "Go: tls.LoadX509KeyPair";
  if (bench.peers.has("Go")) table.row({ name: go, base: go });
  else table.absent.push(go);
  for (let round = 0; round < bench.rounds; round++) {
    for (const [kind, folder] of Object.entries(kinds)) {
      for (const runtime of RUNTIMES) {
        const figures = await probe(bench.runtimes[runtime], ["loading", folder]);
        for (const [key, way] of Object.entries(WAYS)) table.add(`${runtime}: ${way}`, kind, figures[key]!);
      }
      if (bench.peers.has("Go")) table.add(go, kind, (await probeGo(bench, ["load", folder]))["warm"]!);
    }
  }
  return [table.build()];
}
