// An echo server with an accept loop on Deno. A swap changes the certificate of the next connection only:
//   deno run -A examples/deno_listen.ts fullchain.pem privkey.pem
import process from "node:process";
import { loadTlsConfig, TlsState } from "@x/tls-reload";
import { listenTls } from "@x/tls-reload/deno";
import { Reloader } from "@x/tls-reload/reload";

const [certPath = "fullchain.pem", keyPath = "privkey.pem"] = process.argv.slice(2);
const load = () => loadTlsConfig(certPath, keyPath);
const state = new TlsState(await load());
new Reloader(state, load).watch([certPath, keyPath]);

const listener = await listenTls(state, { port: Number(process.env["PORT"] ?? 8443) });
console.log(`https://localhost:${listener.addr.port}/`);
for await (const conn of listener) {
  conn.readable.pipeTo(conn.writable).catch(() => {}); // a client that is gone ends only its own connection
}
