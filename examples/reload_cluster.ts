// Workers on one port, each of which reloads by itself: threads and processes share no state, and need none.
//   deno run -A examples/reload_cluster.ts    bun examples/reload_cluster.ts    node examples/reload_cluster.ts
// `reusePort` is of Linux. Without it, node:cluster shares a port on Node and Deno; Bun cannot.
import cluster from "node:cluster";
import { once } from "node:events";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { loadTlsConfig, TlsState } from "../mod.ts";
import { Reloader } from "../src/reload.ts";
import { issueServer } from "../tests/support/certificates.ts";
import { portOf, visit } from "../tests/support/peers.ts";

const folder: string = workerData?.folder ?? process.env["FOLDER"] ?? await mkdtemp(join(tmpdir(), "tls-reload-"));
const files = [join(folder, "fullchain.pem"), join(folder, "privkey.pem")] as const;
if (!isMainThread) {
  await work(`thread ${workerData.id}`, workerData.port, (message) => parentPort!.postMessage(message));
} else if (cluster.isWorker) {
  await work(`process ${process.pid}`, Number(process.env["PORT"]), (message) => process.send!(message));
} else await lead();

/** What runs in each worker. */
async function work(name: string, port: number, tell: (message: unknown) => unknown): Promise<void> {
  const load = () => loadTlsConfig(...files);
  const state = new TlsState(await load());
  const reloader = new Reloader(state, load);
  reloader.addEventListener("reject", (event) => event.preventDefault());
  reloader.addEventListener("swap", () => tell({ swapped: name }));
  reloader.watch(files);
  const server = createServer((socket) => {
    state.acceptor().accept(socket).then((secure) => secure.end(`${name}\n`), console.warn);
  }).listen({ port, host: "127.0.0.1", reusePort: true }, () => tell({ port: portOf(server) }));
}

/** What starts them, and renews the certificate. */
async function lead(): Promise<void> {
  let { fingerprint256 } = await renew();
  const threads: Worker[] = [];
  let port = 0;
  for (let id = 1; id <= 2; id++) {
    const thread = new Worker(new URL(import.meta.url), { workerData: { id, folder, port } });
    [{ port }] = await once(thread, "message");
    threads.push(thread);
  }
  const processes = [1, 2].map(() => cluster.fork({ FOLDER: folder, PORT: port }));
  const workers = [...threads, ...processes];
  await Promise.all(processes.map((worker) => once(worker, "message")));
  console.log(`${await count(port, workers.length, fingerprint256)} workers serve the first certificate`);

  const swapped = workers.map((worker) => once(worker, "message"));
  ({ fingerprint256 } = await renew());
  await Promise.all(swapped);
  console.log(`${await count(port, workers.length, fingerprint256)} workers serve the second`);

  for (const thread of threads) await thread.terminate();
  for (const worker of processes) worker.kill();
  await Promise.all(processes.map((worker) => once(worker, "exit")));
  await rm(folder, { recursive: true });
}

/** Connects until every worker has answered, and counts those that serve this certificate. */
async function count(port: number, workers: number, fingerprint256: string): Promise<number> {
  const seen = new Map<string, boolean>();
  for (let visits = 0; visits < 1_000 && (seen.size < workers || visits < 40); visits++) {
    const { greeting = "nobody", ...served } = await visit(port);
    seen.set(greeting, served.fingerprint256 === fingerprint256 && seen.get(greeting) !== false);
  }
  return [...seen.values()].filter(Boolean).length;
}

async function renew(): Promise<{ fingerprint256: string }> {
  const issued = await issueServer("renewed");
  for (const [path, content] of [[files[1], issued.key], [files[0], issued.cert]] as const) {
    await writeFile(`${path}.new`, content, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
  return issued;
}
