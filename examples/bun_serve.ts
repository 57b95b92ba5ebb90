// Bun.serve with routes and WebSockets, whose certificate is replaced on SIGHUP:
//   bun examples/bun_serve.ts fullchain.pem privkey.pem
import process from "node:process";
import { loadTlsConfig, TlsState } from "@x/tls-reload";
import { type BunWebSocket, serve } from "@x/tls-reload/bun";
import { Reloader } from "@x/tls-reload/reload";

const [certPath = "fullchain.pem", keyPath = "privkey.pem"] = process.argv.slice(2);
const load = () => loadTlsConfig(certPath, keyPath);
const state = new TlsState(await load());
new Reloader(state, load).onSignal("SIGHUP");

const server = await serve(state, {
  port: Number(process.env["PORT"] ?? 8443),
  routes: {
    "/health": new Response("ok\n"),
    "/users/:id": ({ params }) => Response.json(params),
    "/live": (request, server) => server.upgrade(request) ? undefined : new Response(null, { status: 426 }),
  },
  fetch: (request, server) => new Response(`hello ${server.requestIP(request)?.address}\n`),
  websocket: { message: (socket: BunWebSocket, message) => void socket.send(message) },
});
console.log(`https://localhost:${server.port}/`);
