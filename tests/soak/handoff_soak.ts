// What a handoff costs over time and with many connections; reports, and fails only if something was lost or leaked.
//   deno task soak:handoff bun|deno|listenTls [swaps] [connections]
// With 19,000 connections: ulimit -n 20000
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { connect as connectTls } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { issueServer } from "../support/certificates.ts";
import { startHandoffChild } from "../support/handoff_child.ts";
import { HttpConnection } from "../support/http.ts";
import { deno, installRuntimes } from "../support/runtimes.ts";

/** Fewer than the queue of a listener holds. */
const BATCH = 200;
const [runtime = "bun", swaps = "4000", connections = "100"] = process.argv.slice(2);
const importMap = new URL("../std/import_map.json", import.meta.url).pathname;
const options = runtime === "bun"
  ? { path: (await installRuntimes()).bun.path, runArgs: [] }
  : { path: deno.path, runArgs: ["run", "-A", "--unstable-net", `--import-map=${importMap}`] };
const certificates = await Promise.all(["first", "second"].map((name) => issueServer(name)));
const kind = runtime === "listenTls" ? 1 : 0;
await using server = await startHandoffChild({ certificates, kind }, { ...options, fileLimit: 20_000 });
const port = server.first.port!;

const idle: Socket[] = [];
const descriptors = async () => await server.tell("descriptors") as number;
const none = await descriptors();
while (idle.length < Number(connections)) {
  const batch = Array.from({ length: Math.min(BATCH, Number(connections) - idle.length) }, async () => {
    // Bun closes a connection without a request after ten seconds.
    const isBun = runtime === "bun";
    const socket = isBun
      ? connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false })
      : connect({ host: "127.0.0.1", port });
    await once(socket, isBun ? "secureConnect" : "connect");
    socket.on("error", () => {}).write(isBun ? "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" : "\x16");
    if (isBun) await once(socket, "data");
    idle.push(socket);
  });
  await Promise.all(batch);
}
for (let wait = 0; wait < 100 && await descriptors() < none + Number(connections); wait++) await delay(50);
console.log(`${await descriptors() - none} connections were accepted`);
const spread = (values: readonly number[]) => {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(2);
  return `first ${values[0]!.toFixed(2)}, p50 ${at(0.5)}, p90 ${at(0.9)}, max ${at(1)}`;
};
type Line = { before?: number; after?: number; costs?: number[]; blocks?: number[] };
let line = await server.tell("rotate", 50, 100) as Line;
for (; !line.costs; line = await server.hears());
console.log(`${connections} connections, ms: swap() ${spread(line.costs)}; away ${spread(line.blocks!)}`);
console.log(`${await descriptors() - none} connections are left`);
for (const socket of idle) socket.destroy();

const measure = async () => {
  while ((await server.tell("generations") as unknown[]).length > 1) {
    await delay(100);
  }
  // Deno closes what a server had a little later.
  await delay(300);
  const rssMiB = Math.round(await server.tell("memory") / 2 ** 20);
  return { descriptors: await descriptors(), rssMiB, wakeups: await server.tell("wakeups") };
};
for (let swap = 0; swap < Number(swaps); swap++) {
  const { generation } = await server.tell("swap") as { generation: number };
  const connection = await HttpConnection.open(port);
  const { text } = await connection.ask("/");
  if (text !== `generation ${generation}`) throw new Error(`stale: ${text}, not ${generation}`);
  connection.close();
  if (swap % Math.ceil(Number(swaps) / 8) === 0) console.log(swap, JSON.stringify(await measure()));
}
console.log(swaps, JSON.stringify(await measure()), await server.tell("errors"));
