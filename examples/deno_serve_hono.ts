// Hono on Deno, HTTP/1.1 and HTTP/2, with a certificate that is replaced:
//   deno run -A examples/deno_serve_hono.ts
// Add `fullchain.pem privkey.pem` to serve your own on port 8443, and to load them again at SIGHUP.
import { Hono } from "npm:hono@^4";
import { loadTlsConfig, TlsConfig, TlsState } from "../mod.ts";
import { type DenoServeHandlerInfo, serve } from "../src/deno.ts";
import { issuePair } from "../tests/support/certificates.ts";

const [certPath, keyPath] = Deno.args;
const load = async () =>
  certPath && keyPath ? await loadTlsConfig(certPath, keyPath) : new TlsConfig(await issuePair("example"));
const state = new TlsState(await load());

const app = new Hono<{ Bindings: DenoServeHandlerInfo }>();
app.get("/", ({ env, req, text }) => text(`${req.url} for ${env.remoteAddr.hostname}\n`));
const server = await serve(state, { port: certPath ? 8443 : 0 }, app.fetch);

if (certPath) {
  Deno.addSignalListener("SIGHUP", () => void load().then((config) => state.swap(config), console.error));
} else {
  const client = Deno.createHttpClient({ caCerts: [state.current().leaf.pem] });
  const response = await fetch(`https://localhost:${server.addr.port}/`, { client });
  console.log((await response.text()).trim());
  client.close();
  await server.shutdown();
}
