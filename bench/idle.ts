// What a connection that is open and does nothing holds in the memory of a server: deno task bench --only idle
import { setTimeout as delay } from "node:timers/promises";
import { attempt, type Bench } from "./support/bench.ts";
import { GC_FLAGS, LineChild } from "./support/child.ts";
import { hold } from "./support/hold.ts";
import { caddy, goServer, haproxy, hitch, nginx } from "./support/peers.ts";
import { type Table, TableBuilder } from "./support/report.ts";
import { peer, server, type Subject } from "./support/subject.ts";
import { memoryKiB } from "./support/usage.ts";

const CONNECTIONS = 10_000;
const FIRST = 200;
const SETTLE_MS = 300;
/** Memory does not depend on who else works meanwhile. */
const AT_ONCE = 2;
const COLUMN = "KiB";

/** Each server beside the bare one of its kind. */
const PAIRS: readonly (readonly [Subject, Subject])[] = [
  beside("node", "https.createServer", "https.createServer and attach()"),
  beside("bun", "https.createServer", "https.createServer and attach()"),
  beside("deno", "https.createServer", "https.createServer and attach()"),
  beside("bun", "Bun.serve", "serve() of ./bun"),
  beside("deno", "Deno.serve", "serve() of ./deno"),
  beside("deno", "Deno.listenTls", "listenTls() of ./deno"),
];
const PEERS: readonly Subject[] = [
  peer("nginx", nginx, "nginx"),
  peer("HAProxy", haproxy, "HAProxy"),
  peer("Caddy", caddy, "Caddy"),
  peer("hitch", hitch, "hitch"),
  peer("Go", goServer, "Go: http.Server"),
];

export async function measureIdle(bench: Bench): Promise<Table[]> {
  const count = bench.isQuick ? 500 : CONNECTIONS;
  const table = new TableBuilder({
    title: "Memory of an idle connection",
    about:
      `What ${count.toLocaleString("en")} connections that have been answered once and stay add to the memory of the ` +
      "server and its children, for each. Ratios are to the bare server of its kind. One round, because so many " +
      "connections are a mean already.",
    columns: [{ name: COLUMN, isCharted: true }],
  });
  for (const [bare, ours] of PAIRS) {
    table.row({ name: bare.name, base: bare.name });
    table.row({ name: ours.name, base: bare.name, isOurs: true });
  }
  const present = PEERS.filter((subject) => subject.isPresent(bench));
  for (const { name } of present) table.row({ name, base: name });
  table.absent.push(...PEERS.filter((subject) => !present.includes(subject)).map(({ name }) => name));
  const left = [...PAIRS.flat(), ...present];
  const measureNext = async () => {
    for (let subject = left.shift(); subject; subject = left.shift()) {
      const kib = await attempt(bench, subject.name, () => kibOfEach(bench, subject!, count));
      if (kib !== undefined) table.add(subject.name, COLUMN, kib);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, measureNext));
  return [table.build()];
}

async function kibOfEach(bench: Bench, subject: Subject, count: number): Promise<number> {
  const running = await subject.start(bench, await bench.folder());
  const memoryWith = (connections: number) =>
    hold(bench, subject.name, running.port, connections, async () => {
      await delay(SETTLE_MS);
      if (running instanceof LineChild) await running.heapMiB();
      return await memoryKiB(running.pids);
    });
  try {
    // What a server needs for its first connections, such as compiled code, is not counted.
    const before = await memoryWith(FIRST);
    return (await memoryWith(count) - before) / (count - FIRST);
  } finally {
    await running.stop();
  }
}

function beside(runtime: "node" | "deno" | "bun", bare: string, ours: string): [Subject, Subject] {
  const flags = GC_FLAGS[runtime];
  return [
    server(runtime, bare, { name: `${runtime}: ${bare}`, flags }),
    server(runtime, ours, { name: `${runtime}: ${ours}`, isOurs: true, flags }),
  ];
}
