// Hono on Bun, with WebSockets:
//   bun examples/frameworks/hono_bun.ts fullchain.pem privkey.pem
import process from "node:process";
import { Hono } from "hono";
import { upgradeWebSocket, websocket } from "hono/bun";
import { serve } from "@x/tls-reload/bun";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = new Hono();
app.get("/", (context) => context.text("hello\n"));
app.get("/live", upgradeWebSocket(() => ({ onMessage: ({ data }, socket) => socket.send(String(data)) })));

const server = await serve(state, { port: process.env["PORT"] ?? 8443, fetch: app.fetch, websocket });
console.log(`https://localhost:${server.port}/`);
