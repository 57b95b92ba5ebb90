// What a change of the certificate under load costs the clients that are connected, and those that connect:
//   deno task bench --only rotation
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { CLIENTS, LASTING, type Outcome, SWAP, SWAP_EVERY_MS } from "./clients/outcome.ts";
import { attempt, type Bench } from "./support/bench.ts";
import { type Running, spawnChild, stopChild } from "./support/child.ts";
import { caddy, goServer, haproxy, hitch, nginx } from "./support/peers.ts";
import { type Column, type Table, TableBuilder } from "./support/report.ts";
import { peer, server, type Subject } from "./support/subject.ts";
import { cpuMs } from "./support/usage.ts";

const ROTATION_CLIENTS = fileURLToPath(new URL("clients/rotation.ts", import.meta.url));
/** How long the clients connect in one go, of the seconds that a load lasts; twice with swaps, twice without. */
const TURN = 0.3;
const QUIET_SWAPS = 6;
const QUIET_SWAP_EVERY_MS = 50;

interface Figures extends Outcome {
  readonly cpuMsPerSwap: number;
}

interface Measure extends Column {
  readonly figure: (figures: Figures) => number;
}

const COUNTS: readonly Measure[] = [
  { name: "swaps", figure: ({ swaps }) => swaps },
  { name: "lost per swap", figure: ({ lost, swaps }) => lost / swaps, isCharted: true },
  { name: "stale %", figure: ({ stale, visits }) => 100 * stale / visits, isCharted: true },
  { name: `busy alive of ${LASTING}`, figure: ({ busy }) => busy },
  { name: `idle alive of ${LASTING}`, figure: ({ idle }) => idle, isCharted: true },
  { name: `half-sent answered of ${LASTING}`, figure: ({ half }) => half },
];
const COSTS: readonly Measure[] = [
  { name: "connections per second", figure: ({ visits, seconds }) => visits / seconds },
  { name: "p50 ms", figure: ({ p50Ms }) => p50Ms },
  { name: "p50 / control", figure: ({ p50Ms, controlP50Ms }) => p50Ms / controlP50Ms, isCharted: true },
  { name: "p99 ms", figure: ({ p99Ms }) => p99Ms },
  { name: "p99 / control", figure: ({ p99Ms, controlP99Ms }) => p99Ms / controlP99Ms },
  { name: "CPU ms of a swap", figure: ({ cpuMsPerSwap }) => cpuMsPerSwap, isCharted: true },
];

const ours = (runtime: "node" | "deno" | "bun", kind: string) =>
  server(runtime, kind, { isOurs: true, name: kind.startsWith("serve()") ? kind : `${kind}, ${runtime}` });
const SUBJECTS: readonly Subject[] = [
  ours("node", "TlsAcceptor and node:http"),
  ours("deno", "TlsAcceptor and node:http"),
  ours("bun", "TlsAcceptor and node:http"),
  ours("node", "https.createServer and attach()"),
  ours("deno", "https.createServer and attach()"),
  ours("bun", "https.createServer and attach()"),
  server("deno", "listenTls() of ./deno", { isOurs: true }),
  ours("deno", "serve() of ./deno"),
  ours("bun", "serve() of ./bun"),
  ours("deno", "serve() of ./deno, by front"),
  ours("bun", "serve() of ./bun, by front"),
  peer("Go", goServer, "Go, GetCertificate"),
  peer("HAProxy", haproxy, "HAProxy, runtime API"),
  peer("nginx", nginx, "nginx, reload"),
  peer("Caddy", caddy, "Caddy, reload"),
  peer("hitch", hitch, "hitch, SIGHUP"),
  server("node", "https.createServer and setSecureContext()", {
    name: "https.createServer and setSecureContext(), node",
  }),
  server("bun", "Bun.serve, the next overlapping"),
  server("bun", "Bun.serve, stopped and started"),
  server("deno", "Deno.serve, the next overlapping", { flags: ["--unstable-net"] }),
  server("deno", "Deno.serve, shut down and started"),
];

export function measureRotation(bench: Bench): Promise<Table[]> {
  return rotateAll(bench, SUBJECTS);
}

export async function rotateAll(bench: Bench, subjects: readonly Subject[]): Promise<Table[]> {
  const present = subjects.filter((subject) => subject.isPresent(bench));
  const counts = new TableBuilder({
    title: "Rotation under load",
    about: `${CLIENTS} clients, each request on a fresh connection, and a swap every ${SWAP_EVERY_MS} ms, or as ` +
      "often as the server takes it. Lost: begun and not answered. Stale: begun after the swap call had returned, " +
      "served the certificate from before it; nginx and hitch return at once and change later. nginx, HAProxy, Caddy " +
      "and hitch read new files at each swap, the others hold both pairs. Busy connections ask all the time, idle ones " +
      "have been answered once, half-sent ones have sent a part of their request before the first swap; both go on " +
      "after the last.",
    columns: COUNTS.map(({ name, isCharted }) => ({ name, isCharted, isCompared: false })),
  });
  const costs = new TableBuilder({
    title: "Latency under rotation, and the cost of a swap",
    about: "From connect to the first byte of the response, for the same clients, and its ratio to the control: the " +
      "same clients of the same server, in turns without swaps. CPU: of the server and its children, without load.",
    columns: COSTS.map(({ name, isCharted }) => ({ name, isCharted, isCompared: false })),
  });
  for (const table of [counts, costs]) {
    for (const { name, isOurs } of present) table.row({ name, isOurs });
    table.absent.push(...subjects.filter((subject) => !present.includes(subject)).map(({ name }) => name));
  }
  for (let round = 0; round < bench.rounds; round++) {
    for (const subject of present) {
      const figures = await attempt(bench, subject.name, () => measure(bench, subject));
      if (!figures) continue;
      for (const { name, figure } of COUNTS) counts.add(subject.name, name, figure(figures));
      for (const { name, figure } of COSTS) costs.add(subject.name, name, figure(figures));
    }
  }
  return [counts.build(), costs.build()];
}

async function measure(bench: Bench, subject: Subject): Promise<Figures> {
  const running = await subject.start(bench, await bench.folder());
  try {
    const cpuMsPerSwap = await timeQuietSwaps(running);
    return { ...await rotate(bench, running), cpuMsPerSwap };
  } finally {
    await running.stop();
  }
}

/** An even number, so that the first certificate is served again. */
async function timeQuietSwaps(running: Running): Promise<number> {
  const before = await cpuMs(running.pids);
  for (let count = 0; count < QUIET_SWAPS; count++) {
    await running.swap();
    await delay(QUIET_SWAP_EVERY_MS);
  }
  return (await cpuMs(running.pids) - before) / QUIET_SWAPS;
}

/** The clients are a process of their own, on Node whatever the server runs on, and ask for each swap. */
async function rotate({ runtimes: { node }, pairs, seconds }: Bench, running: Running): Promise<Outcome> {
  const certificates = pairs.map(({ fingerprint256 }) => fingerprint256);
  const args = [...node.runArgs, ROTATION_CLIENTS, String(running.port), String(TURN * seconds), ...certificates];
  const child = spawnChild(node.path, args);
  try {
    let last = "";
    for await (const line of createInterface({ input: child.stdout! })) {
      last = line;
      if (line !== SWAP) continue;
      await running.swap();
      child.stdin!.write("swapped\n");
    }
    return JSON.parse(last);
  } finally {
    await stopChild(child);
  }
}
