// How fast servers that can change their certificate are, beside the bare ones and proxies in front of them:
//   deno task bench --only speed
import { attempt, type Bench } from "./support/bench.ts";
import { http, http2, type Load, type LoadKind, webSocket } from "./support/loads.ts";
import { caddy, goServer, haproxy, hitch, nginx } from "./support/peers.ts";
import { type Column, type Table, TableBuilder } from "./support/report.ts";
import { peer, proxy, server, startAll, type Subject } from "./support/subject.ts";

const LOADS = {
  small: http({ size: 200 }),
  medium: http({ size: 1024 }),
  large: http({ size: 20_480 }),
  fresh: http({ size: 200, isFresh: true }),
  bulk: http({ size: 64 * 1024 * 1024, connections: 2 }),
  streams: http2,
  messages: webSocket,
} satisfies Record<string, LoadKind>;
type LoadName = keyof typeof LOADS;

interface Measure extends Column {
  /** Which load tells it. */
  readonly load: LoadName;
  readonly figure: keyof Load;
}

const MEASURES: readonly Measure[] = [
  { name: "200 B, per second", load: "small", figure: "perSecond", isCharted: true },
  { name: "1 KiB", load: "medium", figure: "perSecond", isCharted: true },
  { name: "20 KiB", load: "large", figure: "perSecond", isCharted: true },
  { name: "fresh connections", load: "fresh", figure: "perSecond", isCharted: true },
  { name: "64 MiB, MiB/s", load: "bulk", figure: "mibPerSecond", isCharted: true },
  { name: "HTTP/2 streams", load: "streams", figure: "perSecond", isCharted: true },
  { name: "WebSocket messages", load: "messages", figure: "perSecond", isCharted: true },
  { name: "p99 ms at 1 KiB", load: "medium", figure: "p99Ms" },
  { name: "p99 ms of fresh", load: "fresh", figure: "p99Ms" },
];

interface Group {
  readonly title: string;
  readonly about: string;
  readonly loads: readonly LoadName[];
  /** The first is what the others are compared with, */
  readonly subjects: readonly Subject[];
  /** but for these loads, which name another. */
  readonly bases?: Partial<Record<LoadName, string>>;
  /** Those that take part in fewer loads. */
  readonly only?: Readonly<Record<string, readonly LoadName[]>>;
}

const HTTP = ["small", "medium", "large", "fresh", "bulk"] as const;
const DENO_27 = "Deno.serve of Deno 2.7";
const GO = "Go: http.Server";
const bunInner = server("bun", "Bun.serve without TLS", { name: "Bun.serve" });
const denoInner = server("deno", "Deno.serve without TLS", { name: "Deno.serve" });
const GROUPS: readonly Group[] = [
  {
    title: "Bun.serve",
    about: "Ratios are to the bare `Bun.serve`, which cannot change its certificate.",
    loads: [...HTTP, "messages"],
    subjects: [
      server("bun", "Bun.serve"),
      server("bun", "serve() of ./bun", { isOurs: true }),
      proxy("nginx", nginx, bunInner),
      proxy("HAProxy", haproxy, bunInner),
      proxy("Caddy", caddy, bunInner),
      proxy("hitch", hitch, bunInner),
    ],
    only: {
      "Caddy in front of Bun.serve": ["small", "fresh"],
      "hitch in front of Bun.serve": ["small", "fresh"],
    },
  },
  {
    title: "https on Bun",
    about: "Ratios are to the bare server of `node:https` on Bun, which cannot change its certificate.",
    loads: HTTP,
    subjects: [
      server("bun", "https.createServer"),
      server("bun", "https.createServer and attach()", { isOurs: true }),
    ],
  },
  {
    title: "Deno.serve",
    about:
      "Ratios are to the bare `Deno.serve`, which cannot change its certificate; at 1 KiB and 20 KiB to that of Deno " +
      "2.7. On a connection that stays, that of Deno 2.8 and 2.9 waits 44 ms for each answer of more than about 400 " +
      "bytes, and that of 2.7 for each of 16 KiB and more.",
    loads: [...HTTP, "streams", "messages"],
    bases: { medium: DENO_27, large: DENO_27 },
    subjects: [
      server("deno", "Deno.serve"),
      server("deno27", "Deno.serve", { name: DENO_27 }),
      server("deno", "serve() of ./deno", { isOurs: true }),
      proxy("nginx", nginx, denoInner),
      proxy("HAProxy", haproxy, denoInner),
    ],
    only: { [DENO_27]: ["medium", "large"] },
  },
  {
    title: "Deno.listenTls",
    about:
      "Ratios are to the bare `Deno.listenTls`, which cannot change its certificate. Both answer from the same loop.",
    loads: HTTP,
    subjects: [server("deno", "Deno.listenTls"), server("deno", "listenTls() of ./deno", { isOurs: true })],
  },
  {
    title: "https on Node",
    about: "Ratios are to the bare server of `node:https`; `ws` answers the messages. Go is beside them for scale.",
    loads: [...HTTP, "messages"],
    subjects: [
      server("node", "https.createServer"),
      server("node", "https.createServer and attach()", { isOurs: true }),
      peer("Go", goServer, GO),
    ],
    only: { [GO]: HTTP },
  },
  ...(["node", "bun"] as const).map((runtime) => ({
    title: `http2 on ${runtime === "node" ? "Node" : "Bun"}`,
    about: "Ratios are to the bare server of `node:http2`.",
    loads: ["streams"] as const,
    subjects: [
      server(runtime, "http2.createSecureServer"),
      server(runtime, "http2.createSecureServer and attach()", { isOurs: true }),
    ],
  })),
];

export async function measureSpeed(bench: Bench): Promise<Table[]> {
  const tables: Table[] = [];
  for (const group of GROUPS) tables.push(await measureGroup(bench, group));
  return tables;
}

async function measureGroup(bench: Bench, group: Group): Promise<Table> {
  const { title, about, loads, subjects, bases = {}, only = {} } = group;
  const measures = MEASURES.filter(({ load }) => loads.includes(load));
  const table = new TableBuilder({
    title,
    about: `${about} 16 clients, 2 for 64 MiB.`,
    columns: measures.map(({ name, load, isCharted }) => ({ name, isCharted, base: bases[load] })),
  });
  const { running, absent, stop } = await startAll(bench, subjects);
  table.absent.push(...absent);
  for (const subject of running.keys()) table.row(subject);
  const loadsOf = ({ name }: Subject) => only[name] ?? loads;
  // Compilers of the runtimes have work to do in the first second.
  for (const [subject, { port }] of running) await LOADS[loadsOf(subject)[0]!](bench, subject.name, port);
  for (let round = 0; round < bench.rounds; round++) {
    for (const load of loads) {
      if (load === "streams" && !bench.peers.has("h2load")) continue;
      // Every second round in the other order, because what comes first may have it easier.
      for (const [subject, { port }] of round % 2 === 0 ? [...running] : [...running].reverse()) {
        if (!loadsOf(subject).includes(load)) continue;
        const result = await attempt(bench, subject.name, () => LOADS[load](bench, subject.name, port));
        if (!result) continue;
        for (const each of measures) if (each.load === load) table.add(subject.name, each.name, result[each.figure]);
      }
    }
  }
  await stop();
  return table.build();
}
