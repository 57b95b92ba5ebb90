// Two threads and two processes on one port, and a new process where one ends. Each has a state and a reloader of its
// own on the same files, so no key passes between them:
//   deno run -A examples/reload_cluster.ts fullchain.pem privkey.pem    (or bun, or node)
// `reusePort` needs Linux. Elsewhere node:cluster shares the port on Node and Deno; Bun has no such means.
import cluster from "node:cluster";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { loadTlsConfig, TlsState } from "@x/tls-reload";
import { Reloader } from "@x/tls-reload/reload";

const [certPath = "fullchain.pem", keyPath = "privkey.pem"] = process.argv.slice(2);

/** Serves in one worker. `send` reports the port, then each swap. */
async function serve(name: string, port: number, send: (message: unknown) => unknown): Promise<void> {
  const load = () => loadTlsConfig(certPath, keyPath);
  const state = new TlsState(await load());
  const reloader = new Reloader(state, load);
  reloader.watch([certPath, keyPath]);
  reloader.addEventListener("swap", () => send({ swapped: name }));
  const server = createServer((socket) => {
    state.acceptor().accept(socket).then((secure) => secure.end(`${name}\n`), console.warn);
  });
  server.listen({ port, reusePort: true }, () => send({ port: (server.address() as AddressInfo).port }));
}

/** Starts the workers and prints what they report. */
async function lead(): Promise<void> {
  let port = Number(process.env["PORT"] ?? 8443);
  const print = (message: { swapped?: string }) => console.log(`${message.swapped} serves the new certificate`);
  for (const id of [1, 2]) {
    const thread = new Worker(new URL(import.meta.url), { workerData: { id, port }, argv: [certPath, keyPath] });
    [{ port }] = await once(thread, "message");
    thread.on("message", print);
  }
  const fork = async () => {
    const worker = cluster.fork({ PORT: port });
    await once(worker, "message");
    worker.on("message", print);
  };
  for (const _ of [1, 2]) await fork();
  cluster.on("exit", fork);
  console.log(`https://localhost:${port}/`);
}

if (!isMainThread) {
  await serve(`thread ${workerData.id}`, workerData.port, (message) => parentPort?.postMessage(message));
} else if (cluster.isWorker) {
  await serve(`process ${process.pid}`, Number(process.env["PORT"]), (message) => process.send?.(message));
} else {
  await lead();
}
