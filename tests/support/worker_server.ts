// One of several threads that share a port: what tests/e2e/workers_test.ts starts. Its messages are its port, when it
// listens, and its name, when it has swapped; it reloads at any message.
import { type AddressInfo, createServer } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import { loadTlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";

const { name, port, certPath, keyPath } = workerData;
const load = () => loadTlsConfig(certPath, keyPath);
const state = new TlsState(await load());
const reloader = new Reloader(state, load);
reloader.addEventListener("swap", () => parentPort!.postMessage({ swapped: name }));
parentPort!.on("message", () => reloader.reload());

const server = createServer((socket) => {
  const acceptor = state.acceptor();
  acceptor.accept(socket).then((secure) => secure.end(`${name}, generation ${acceptor.generation}\n`), () => {});
});
server.listen({ host: "127.0.0.1", port, reusePort: true }, () => {
  parentPort!.postMessage({ port: (server.address() as AddressInfo).port });
});
