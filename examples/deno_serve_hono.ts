// Hono on Deno, over HTTP/1.1 and HTTP/2, whose certificate is replaced on SIGHUP:
//   deno run -A examples/deno_serve_hono.ts fullchain.pem privkey.pem
import process from "node:process";
import { Hono } from "npm:hono@^4";
import { loadTlsConfig, TlsState } from "@x/tls-reload";
import { type DenoServeHandlerInfo, serve } from "@x/tls-reload/deno";
import { Reloader } from "@x/tls-reload/reload";

const [certPath = "fullchain.pem", keyPath = "privkey.pem"] = process.argv.slice(2);
const load = () => loadTlsConfig(certPath, keyPath);
const state = new TlsState(await load());
new Reloader(state, load).onSignal("SIGHUP");

const app = new Hono<{ Bindings: DenoServeHandlerInfo }>();
app.get("/", ({ env, req, text }) => text(`${req.url} for ${env.remoteAddr.hostname}\n`));
const server = await serve(state, { port: Number(process.env["PORT"] ?? 8443) }, app.fetch);
console.log(`https://localhost:${server.addr.port}/`);
