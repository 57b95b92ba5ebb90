// From the rename of a new certificate to the first handshake that serves it: deno task bench --only reload
import { setTimeout as delay } from "node:timers/promises";
import { HttpConnection } from "../tests/support/http.ts";
import { attempt, type Bench, put } from "./support/bench.ts";
import { goWatcher, nginx } from "./support/peers.ts";
import { quantile, type Table, TableBuilder } from "./support/report.ts";
import { peer, server, type Subject } from "./support/subject.ts";

const [P50, P99] = ["p50 ms", "p99 ms"] as const;
const ROTATIONS = 6;
const POLL_MS = 200;
/** Far longer than any server takes; noted where one does. */
const LIMIT_MS = 10_000;
const RUNTIMES = ["node", "deno", "bun"] as const;
const POLLING = "Reloader, no events, polling every 200 ms";
const WAYS = [
  "Reloader, 10 ms to settle",
  "Reloader, 250 ms to settle (default)",
  POLLING,
  "fs.watch and setSecureContext by hand",
];
const NGINX = peer("nginx", nginx, "nginx, told to reload");
const SUBJECTS: readonly Subject[] = [
  peer("Go", goWatcher, "Go: certwatcher, inotify"),
  NGINX,
  ...RUNTIMES.flatMap((runtime) =>
    WAYS.map((way) => server(runtime, way, { name: `${runtime}: ${way}`, isOurs: way.startsWith("Reloader") }))
  ),
];

export async function measureReload(bench: Bench): Promise<Table[]> {
  const rotations = bench.isQuick ? 3 : ROTATIONS;
  const table = new TableBuilder({
    title: "Reload latency",
    about: "From the rename of the certificate, which follows that of the key, to the first handshake with it, by a " +
      `client that connects over and over; ${rotations} rotations in each round. p50 ` +
      "is of each round, p99 of all. Go, nginx and the loop by hand do not wait for files to settle, nor prove what they serve.",
    columns: [{ name: P50, isCharted: true, isCompared: false }, { name: P99, isCompared: false }],
  });
  const subjects = SUBJECTS.filter((subject) => subject.isPresent(bench));
  for (const { name, isOurs } of subjects) table.row({ name, isOurs });
  for (const { name } of SUBJECTS.filter((subject) => !subjects.includes(subject))) table.absent.push(name);
  const all = new Map(subjects.map((subject) => [subject, [] as number[]]));
  for (let round = 0; round < bench.rounds; round++) {
    for (const [subject, times] of all) {
      const each = await attempt(bench, subject.name, () => timeRotations(bench, subject, rotations));
      if (!each) continue;
      table.add(subject.name, P50, quantile(each, 0.5));
      times.push(...each);
    }
  }
  for (const [{ name }, times] of all) table.add(name, P99, quantile(times, 0.99));
  return [table.build()];
}

async function timeRotations(bench: Bench, subject: Subject, rotations: number): Promise<number[]> {
  const folder = await bench.folder();
  const running = await subject.start(bench, folder);
  const times: number[] = [];
  // The first is not counted, because nothing is warm.
  for (let count = 1; count <= rotations + 1; count++) {
    const pair = bench.pairs[count % 2]!;
    // At a random moment of the poll interval.
    if (subject.name.endsWith(POLLING)) await delay(Math.random() * POLL_MS);
    // nginx is told after the rename; the others watch the files.
    await (subject === NGINX ? running.swap() : put(folder, pair));
    const start = performance.now();
    const passed = () => performance.now() - start;
    while (await served(running.port) !== pair.fingerprint256 && passed() < LIMIT_MS);
    if (passed() >= LIMIT_MS) bench.notes.add(`${subject.name}: a certificate was not served within ${LIMIT_MS} ms`);
    if (count > 1) times.push(passed());
  }
  await running.stop();
  return times;
}

async function served(port: number): Promise<string | undefined> {
  try {
    const connection = await HttpConnection.open(port, { servername: "localhost" });
    connection.close();
    return connection.fingerprint256;
  } catch {
    return undefined;
  }
}
