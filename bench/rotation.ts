// What a change of the certificate under load costs those who are connected, and those who connect:
//   deno task bench --only rotation
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Bench } from "./support/bench.ts";
import { type Running, spawnChild } from "./support/child.ts";
import { caddy, goServer, haproxy, hitch, nginx } from "./support/peers.ts";
import { type Table, TableBuilder } from "./support/report.ts";
import { peer, server, type Subject } from "./support/subject.ts";
import { CLIENTS, LASTING, type Outcome, SWAP, SWAP_EVERY_MS } from "./support/visit.ts";

const VISITORS = fileURLToPath(new URL("support/visitors.ts", import.meta.url));

const [VISITS, SWAPS, LOST, STALE, IDLE, HALF] = [
  "connections per second",
  "swaps",
  "lost per swap",
  "stale %",
  `idle alive of ${LASTING}`,
  `half-sent answered of ${LASTING}`,
] as const;

const ours = { isOurs: true };
const SUBJECTS: readonly Subject[] = [
  ...(["node", "deno", "bun"] as const).map((runtime) =>
    server(runtime, "TlsAcceptor and node:http", { ...ours, name: `TlsAcceptor and node:http, ${runtime}` })
  ),
  server("node", "https.createServer and attach()", { ...ours, name: "https.createServer and attach(), node" }),
  server("deno", "https.createServer and attach()", { ...ours, name: "https.createServer and attach(), deno" }),
  server("deno", "listenTls() of ./deno", ours),
  server("deno", "serve() of ./deno", ours),
  server("bun", "serve() of ./bun", ours),
  peer("Go", goServer, "Go, GetCertificate"),
  peer("HAProxy", haproxy, "HAProxy, runtime API"),
  peer("nginx", nginx, "nginx, reload"),
  peer("Caddy", caddy, "Caddy, reload"),
  peer("hitch", hitch, "hitch, SIGHUP"),
  server("node", "setSecureContext", { name: "https.createServer and setSecureContext(), node" }),
  server("bun", "Bun.serve, the next overlapping"),
  server("bun", "Bun.serve, stopped and started"),
  server("deno", "Deno.serve, the next overlapping", { flags: ["--unstable-net"] }),
  server("deno", "Deno.serve, shut down and started"),
];

export async function measureRotation(bench: Bench): Promise<Table[]> {
  const table = new TableBuilder({
    title: "Rotation under load",
    about:
      `${CLIENTS} clients, each request on a fresh connection, and a swap every ${SWAP_EVERY_MS} ms, or as often as ` +
      "the server takes it. Lost: begun and not answered. Stale: begun after the swap call had returned, served the " +
      "certificate from before it; nginx and hitch return at once and change later. nginx, HAProxy, Caddy and hitch " +
      "read new files at each swap, the others hold both pairs. Idle connections have been " +
      "answered once, half-sent ones have sent a part of their request before the first swap; both go on after the last.",
    columns: [VISITS, SWAPS, LOST, STALE, IDLE, HALF].map((name) => ({
      name,
      isCompared: false,
      isCharted: name === LOST || name === STALE || name === IDLE,
    })),
  });
  const subjects = SUBJECTS.filter((subject) => subject.isPresent(bench));
  for (const { name, isOurs } of subjects) table.row({ name, isOurs });
  for (const { name } of SUBJECTS.filter((subject) => !subjects.includes(subject))) table.absent.push(name);
  for (let round = 0; round < bench.rounds; round++) {
    for (const subject of subjects) {
      const { name } = subject;
      const running = await subject.start(bench, await bench.folder());
      const { seconds, visits, swaps, lost, stale, idle, half } = await rotate(bench, running);
      await running.stop();
      table.add(name, VISITS, visits / seconds);
      table.add(name, SWAPS, swaps);
      table.add(name, LOST, lost / swaps);
      table.add(name, STALE, visits > 0 ? 100 * stale / visits : NaN);
      table.add(name, IDLE, idle);
      table.add(name, HALF, half);
    }
  }
  return [table.build()];
}

/** The clients are a process of their own, on Node whatever the server runs on, and ask for each swap. */
async function rotate({ runtimes, pairs, seconds }: Bench, running: Running): Promise<Outcome> {
  const certificates = pairs.map(({ fingerprint256 }) => fingerprint256);
  const args = [...runtimes.node.runArgs, VISITORS, String(running.port), String(seconds), ...certificates];
  const child = spawnChild(runtimes.node.path, args);
  let last = "";
  for await (const line of createInterface({ input: child.stdout! })) {
    last = line;
    if (line !== SWAP) continue;
    await running.swap();
    child.stdin!.write("swapped\n");
  }
  return JSON.parse(last);
}
