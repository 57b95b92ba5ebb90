// Two processes of Bun on one port, and a new one where one ends. Each has a state and a reloader of its own on the same
// files, so no key passes between them. `reusePort` needs Linux:
//   bun examples/bun_cluster.ts fullchain.pem privkey.pem
import cluster from "node:cluster";
import process from "node:process";
import { serve } from "@x/tls-reload/bun";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const port = Number(process.env["PORT"] ?? 8443);
const name = `process ${process.pid}`;

if (cluster.isPrimary) {
  for (const _ of [1, 2]) cluster.fork();
  cluster.on("exit", () => cluster.fork());
} else {
  const { state } = await reloadTls({ cert, key });
  await serve(state, { port, reusePort: true, fetch: () => new Response(`${name}\n`) });
  console.log(`${name}: https://localhost:${port}/`);
}
