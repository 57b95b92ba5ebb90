// Bun.serve with routes and WebSockets, with a certificate that is replaced:
//   bun examples/bun_serve.ts
// Add `fullchain.pem privkey.pem` to serve your own on port 8443, and to load them again at SIGHUP.
import process from "node:process";
import { loadTlsConfig, TlsConfig, TlsState } from "../mod.ts";
import { type BunWebSocket, serve } from "../src/bun.ts";
import { issuePair } from "../tests/support/certificates.ts";

const [certPath, keyPath] = process.argv.slice(2);
const load = async () =>
  certPath && keyPath ? await loadTlsConfig(certPath, keyPath) : new TlsConfig(await issuePair("example"));
const state = new TlsState(await load());

const server = await serve(state, {
  port: certPath ? 8443 : 0,
  routes: {
    "/health": new Response("ok\n"),
    "/users/:id": ({ params }) => Response.json(params),
    "/live": (request, server) => server.upgrade(request) ? undefined : new Response(null, { status: 426 }),
  },
  fetch: (request, server) => new Response(`hello ${server.requestIP(request)?.address}\n`),
  websocket: { message: (socket: BunWebSocket, message) => void socket.send(message) },
});

if (certPath) {
  process.on("SIGHUP", () => void load().then((config) => state.swap(config), console.error));
} else {
  for (const path of ["/health", "/users/7", "/"]) {
    const options = { tls: { ca: state.current().leaf.pem } } as RequestInit;
    console.log(path, (await (await fetch(new URL(path, server.url), options)).text()).trim());
  }
  await server.stop(true);
}
