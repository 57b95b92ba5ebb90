// The native servers behind a front, beside the bare ones, node:https, nginx and HAProxy:
//   deno task bench --only native
// To compare carriers, name a variant in servers.ts, list it in its group here, and ask for it; then only that group
// is measured:
//   deno task bench --only native --variant "serve() of ./bun, another carrier"
import type { Bench } from "./support/bench.ts";
import { haproxy, nginx } from "./support/peers.ts";
import { type Column, type Table, TableBuilder } from "./support/report.ts";
import { proxy, server, startAll, type Subject } from "./support/subject.ts";
import { type Load, load, type LoadOptions } from "./support/wrk.ts";

interface Measure extends Column {
  /** Which load tells it. */
  readonly load: string;
  readonly figure: keyof Load;
}

interface Group {
  readonly title: string;
  readonly about: string;
  /** The first is what the others are compared with, */
  readonly subjects: readonly Subject[];
  /** but for these loads, which name another. */
  readonly bases?: Readonly<Record<string, string>>;
  /** Those that take part only when they are asked for. */
  readonly variants: readonly Subject[];
}

const LOADS: Record<string, LoadOptions> = {
  small: { size: 200 },
  medium: { size: 1024 },
  large: { size: 20_480 },
  fresh: { size: 200, isFresh: true },
  bulk: { size: 64 * 1024 * 1024, connections: 2 },
};

const MEASURES: readonly Measure[] = [
  { name: "200 B, per second", load: "small", figure: "perSecond", isCharted: true },
  { name: "1 KiB", load: "medium", figure: "perSecond", isCharted: true },
  { name: "20 KiB", load: "large", figure: "perSecond", isCharted: true },
  { name: "fresh connections", load: "fresh", figure: "perSecond", isCharted: true },
  { name: "64 MiB, MiB/s", load: "bulk", figure: "mibPerSecond", isCharted: true },
  { name: "p99 ms at 1 KiB", load: "medium", figure: "p99Ms" },
  { name: "p99 ms of fresh", load: "fresh", figure: "p99Ms" },
];

const DENO_27 = "Deno.serve of Deno 2.7";
const bunInner = server("bun", "Bun.serve without TLS", { name: "Bun.serve" });
const denoInner = server("deno", "Deno.serve without TLS", { name: "Deno.serve" });
const GROUPS: readonly Group[] = [
  {
    title: "Bun.serve",
    about: "Ratios are to the bare `Bun.serve`, which cannot change its certificate.",
    subjects: [
      server("bun", "Bun.serve"),
      server("bun", "serve() of ./bun", { isOurs: true }),
      server("bun", "https.createServer", { name: "node:https" }),
      proxy("nginx", nginx, bunInner),
      proxy("HAProxy", haproxy, bunInner),
    ],
    variants: [],
  },
  {
    title: "Deno.serve",
    about:
      "Ratios are to the bare `Deno.serve`, which cannot change its certificate; at 1 KiB and 20 KiB to that of Deno " +
      "2.7. On a connection that stays, that of Deno 2.8 and 2.9 waits 40 ms for each answer of more than about 350 " +
      "bytes, and that of 2.7 for each of 16 KiB and more.",
    bases: { medium: DENO_27, large: DENO_27 },
    subjects: [
      server("deno", "Deno.serve"),
      server("deno27", "Deno.serve", { name: DENO_27 }),
      server("deno", "serve() of ./deno", { isOurs: true }),
      server("deno", "https.createServer", { name: "node:https" }),
      proxy("nginx", nginx, denoInner),
      proxy("HAProxy", haproxy, denoInner),
    ],
    variants: [],
  },
  {
    title: "Deno.listenTls",
    about:
      "Ratios are to the bare `Deno.listenTls`, which cannot change its certificate. Both answer from the same loop.",
    subjects: [server("deno", "Deno.listenTls"), server("deno", "listenTls() of ./deno", { isOurs: true })],
    variants: [],
  },
];

export async function measureNativeServers(bench: Bench): Promise<Table[]> {
  const names = GROUPS.flatMap(({ variants }) => variants.map(({ name }) => name));
  const unknown = bench.variants.find((name) => !names.includes(name));
  if (unknown) {
    throw new TypeError(`Cannot measure: '--variant' must be one of ${names.join(", ") || "none"}: ${unknown}`);
  }
  const hasAsked = ({ variants }: Group) => variants.some(({ name }) => bench.variants.includes(name));
  const tables: Table[] = [];
  for (const group of bench.variants.length > 0 ? GROUPS.filter(hasAsked) : GROUPS) {
    tables.push(await measure(bench, group));
  }
  return tables;
}

async function measure(bench: Bench, { title, about, subjects, bases = {}, variants }: Group): Promise<Table> {
  const asked = variants.filter(({ name }) => bench.variants.includes(name));
  const { running, absent, stop } = await startAll(bench, [...subjects, ...asked]);
  const columns = MEASURES.map((each) => ({ ...each, base: bases[each.load] }));
  const table = new TableBuilder({ title, about: `${about} 16 clients, 2 for 64 MiB.`, columns });
  table.absent.push(...absent);
  for (const subject of running.keys()) table.row(subject);
  for (let round = bench.isQuick ? 0 : -1; round < bench.rounds; round++) {
    for (const [kind, options] of Object.entries(LOADS)) {
      // One round of one load is enough to warm up.
      if (round < 0 && kind !== "small") continue;
      for (const [subject, { port }] of running) {
        const result = await load(bench, subject.name, port, options);
        if (round < 0) continue;
        for (const each of MEASURES) if (each.load === kind) table.add(subject.name, each.name, result[each.figure]);
      }
    }
  }
  await stop();
  return table.build();
}
