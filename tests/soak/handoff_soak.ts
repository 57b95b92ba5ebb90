// What a handoff costs over time and with many connections; reports, and fails only if something was lost or leaked.
//   deno run -A --import-map tests/std/import_map.json tests/soak/handoff_soak.ts bun|deno|listenTls [swaps] [connections]
import { connect } from "node:net";
import process from "node:process";
import { issueServer } from "../support/certificates.ts";
import { startHandoffChild } from "../support/handoff_child.ts";
import { HttpConnection } from "../support/http.ts";
import { deno, installRuntimes } from "../support/runtimes.ts";

const [runtime = "bun", swaps = "4000", connections = "100"] = process.argv.slice(2);
const importMap = new URL("../std/import_map.json", import.meta.url).pathname;
const options = runtime === "bun"
  ? { path: (await installRuntimes()).bun.path, runArgs: [] }
  : { path: deno.path, runArgs: ["run", "-A", "--unstable-net", `--import-map=${importMap}`] };
const certificates = await Promise.all(["first", "second"].map((name) => issueServer(name)));
const kind = runtime === "listenTls" ? 1 : 0;
await using server = await startHandoffChild({ certificates, kind }, { ...options, fileLimit: 20_000 });
const port = server.first.port!;

const idle = [];
for (let client = 0; client < Number(connections); client++) {
  const socket = connect({ host: "127.0.0.1", port }).on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.write("\x16");
  idle.push(socket);
}
// The server has accepted all of them, and has nothing else to do, when it is measured.
await new Promise((resolve) => setTimeout(resolve, 3_000));
const percentile = (values: number[], share: number) =>
  values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))]!;
type Line = { before?: number; after?: number; costs?: number[]; longestBlockMs?: number };
let line = await server.tell("rotate", 100, 20) as Line;
for (; !line.costs; line = await server.hears());
console.log(
  `${connections} connections: swap() ms p50 ${percentile(line.costs, 0.5).toFixed(2)}, max ` +
    `${Math.max(...line.costs).toFixed(2)}; longest block ${line.longestBlockMs!.toFixed(1)} ms`,
);
for (const socket of idle) socket.destroy();

const measure = async () => {
  while ((await server.tell("generations") as unknown[]).length > 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { descriptors: await server.tell("descriptors"), rssMiB: Math.round(await server.tell("memory") / 2 ** 20) };
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
