// What a handshake costs a server, with and without client certificates: deno task bench --only clients
import type { Bench } from "./support/bench.ts";
import { runClient } from "./support/probe.ts";
import { type Table, TableBuilder } from "./support/report.ts";
import { server, startAll, type Subject } from "./support/subject.ts";
import { cpuMs } from "./support/usage.ts";

const HANDSHAKES = 400;
const [WITHOUT_CPU, WITHOUT_MS, WITH_CPU, WITH_MS] = [
  "CPU µs of a connection",
  "p50 ms",
  "CPU µs with a client certificate",
  "its p50 ms",
] as const;

/** Servers that can ask for client certificates; each second one is compared with the one before it. */
const KINDS = [
  ["node", "https.createServer"],
  ["node", "https.createServer and attach()"],
  ["deno", "https.createServer"],
  ["deno", "https.createServer and attach()"],
  ["bun", "https.createServer"],
  ["bun", "https.createServer and attach()"],
  ["bun", "Bun.serve"],
  ["bun", "serve() of ./bun"],
] as const;

export async function measureClientAuth(bench: Bench): Promise<Table[]> {
  const count = bench.isQuick ? HANDSHAKES / 10 : HANDSHAKES;
  const table = new TableBuilder({
    title: "Client certificates",
    about: `${count} connections with one request each, of 8 clients. Processor time is that of the server. Ratios ` +
      "are to the bare server. All of the clients have a certificate, and half of the servers ask for it.",
    columns: [
      { name: WITHOUT_CPU, isCharted: true },
      { name: WITHOUT_MS },
      { name: WITH_CPU, isCharted: true },
      { name: WITH_MS },
    ],
  });
  const columns = new Map<Subject, readonly [cpu: string, ms: string]>();
  for (const [index, [runtime, kind]] of KINDS.entries()) {
    const name = `${runtime}: ${kind}`;
    const isOurs = index % 2 === 1;
    table.row({ name, isOurs, base: `${runtime}: ${KINDS[isOurs ? index - 1 : index]![1]}` });
    columns.set(server(runtime, kind, { name }), [WITHOUT_CPU, WITHOUT_MS]);
    columns.set(server(runtime, kind, { name, asksForCertificates: true }), [WITH_CPU, WITH_MS]);
  }
  const { running, folder, stop } = await startAll(bench, [...columns.keys()]);
  for (let round = bench.isQuick ? 0 : -1; round < bench.rounds; round++) {
    for (const [subject, { port, pids }] of running) {
      const before = await cpuMs(pids);
      const { p50Ms = NaN } = await runClient(bench, "handshakes.ts", [port, count, folder]);
      const cpu = (await cpuMs(pids) - before) / count * 1000;
      if (round < 0) continue;
      const [cpuColumn, msColumn] = columns.get(subject)!;
      table.add(subject.name, cpuColumn, cpu);
      table.add(subject.name, msColumn, p50Ms);
    }
  }
  await stop();
  return [table.build()];
}
