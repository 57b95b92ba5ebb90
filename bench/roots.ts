// What it costs to load the system's roots, each time in a process of its own: deno task bench --only roots
import { existsSync } from "node:fs";
import type { Bench } from "./support/bench.ts";
import { probe, probeGo } from "./support/probe.ts";
import { type Table, TableBuilder } from "./support/report.ts";

const RUNTIMES = ["node", "deno", "bun"] as const;
const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const [THEIRS, OURS, PEM] = [`tls.getCACertificates("system")`, "nativeRoots()", "(await nativeRoots()).pem"] as const;
const LATER = {
  callNs: "nativeRoots(), ns",
  sharedUs: "its shared context, µs",
  ownUs: "a context with ca: […], µs",
};

export async function measureRoots(bench: Bench): Promise<Table[]> {
  return [await compareFirst(bench), await timeLater(bench)];
}

async function compareFirst(bench: Bench): Promise<Table> {
  const places: Record<string, Record<string, string>> = {
    "defaults, ms": {},
    ...(existsSync(BUNDLE) && { "one file, ms": { SSL_CERT_FILE: BUNDLE } }),
  };
  const table = new TableBuilder({
    title: "Trusted roots, the first call",
    about: "In a process that has just begun. Ratios are to what the same runtime has.",
    columns: Object.keys(places).map((name) => ({ name, isCharted: true })),
  });
  for (const runtime of RUNTIMES) {
    for (const way of [THEIRS, OURS, PEM]) {
      table.row({ name: `${runtime}: ${way}`, base: `${runtime}: ${THEIRS}`, isOurs: way !== THEIRS });
    }
  }
  const go = "Go: x509.SystemCertPool()";
  if (bench.peers.has("Go")) table.row({ name: go, base: go });
  else table.absent.push(go);
  for (let round = 0; round < bench.rounds; round++) {
    for (const [column, env] of Object.entries(places)) {
      for (const runtime of RUNTIMES) {
        const { load, loadAndPem } = await probe(bench.runtimes[runtime], ["roots"], env);
        table.add(`${runtime}: ${OURS}`, column, load!);
        table.add(`${runtime}: ${PEM}`, column, loadAndPem!);
        table.add(
          `${runtime}: ${THEIRS}`,
          column,
          (await probe(bench.runtimes[runtime], ["runtimeRoots"], env))["load"]!,
        );
      }
      if (bench.peers.has("Go")) table.add(go, column, (await probeGo(bench, ["roots", "."], env))["load"]!);
    }
  }
  return table.build();
}

async function timeLater(bench: Bench): Promise<Table> {
  const table = new TableBuilder({
    title: "Trusted roots, later",
    about: "What each further client pays: with the shared context of the store, and with a list of its own.",
    columns: Object.values(LATER).map((name) => ({ name, isCompared: false })),
  });
  for (const runtime of RUNTIMES) table.row({ name: runtime, isOurs: true });
  for (let round = 0; round < bench.rounds; round++) {
    for (const runtime of RUNTIMES) {
      const figures = await probe(bench.runtimes[runtime], ["warmRoots"]);
      for (const [key, column] of Object.entries(LATER)) table.add(runtime, column, figures[key]!);
    }
  }
  return table.build();
}
