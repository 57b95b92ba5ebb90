// A WebSocket chat on Bun. Members stay in the room when the certificate changes, and new members join them:
//   bun examples/bun_chat.ts fullchain.pem privkey.pem
import process from "node:process";
import { loadTlsConfig, TlsState } from "@x/tls-reload";
import { type BunWebSocket, serve } from "@x/tls-reload/bun";
import { Reloader } from "@x/tls-reload/reload";

const [certPath = "fullchain.pem", keyPath = "privkey.pem"] = process.argv.slice(2);
const load = () => loadTlsConfig(certPath, keyPath);
const state = new TlsState(await load());
new Reloader(state, load).watch([certPath, keyPath]);

const server = await serve(state, {
  port: Number(process.env["PORT"] ?? 8443),
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response(null, { status: 426 }),
  websocket: {
    open: (socket: BunWebSocket) => socket.subscribe("room"),
    message: (socket, message) => void socket.publish("room", message),
  },
});
console.log(`https://localhost:${server.port}/`);
