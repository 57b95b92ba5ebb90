// A worker of node:cluster whose attached server asks for client certificates: what tests/e2e/cluster_test.ts starts.
// It sends its port, and greets its clients with its name.
import type { AddressInfo } from "node:net";
import process from "node:process";
import { createServer } from "node:tls";
import { loadTlsConfig, TlsState } from "../../mod.ts";
import { attach } from "../../src/node.ts";

const { NAME, PORT, CERT, KEY, CA } = process.env;
const server = createServer((secure) => secure.on("error", () => {}).end(`generation 0 of ${NAME}\n`));
attach(new TlsState(await loadTlsConfig(CERT!, KEY!, { clientAuth: { mode: "required", ca: CA! } })), server);
// Bun has no primary process that shares a port.
const reusePort = process.versions["bun"] !== undefined;
server.listen({ host: "127.0.0.1", port: Number(PORT), reusePort }, () => {
  process.send!({ port: (server.address() as AddressInfo).port });
});
