// Elysia on Bun, with WebSockets:
//   bun examples/frameworks/elysia_bun.ts fullchain.pem privkey.pem
import process from "node:process";
import { Elysia } from "elysia";
import { websocket } from "elysia/ws";
import { serve } from "@x/tls-reload/bun";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = new Elysia();
app.get("/", () => "hello\n");
app.ws("/live", { message: (socket, message) => void socket.send(message) });

app.server = await serve(state, { port: process.env["PORT"] ?? 8443, fetch: app.fetch, websocket });
console.log(`https://localhost:${app.server.port}/`);
