// Hono on Deno, over HTTP/1.1 and HTTP/2, with WebSockets:
//   deno run -A examples/frameworks/hono_deno.ts fullchain.pem privkey.pem
import process from "node:process";
import { Hono } from "hono";
import { upgradeWebSocket } from "hono/deno";
import { serve } from "@x/tls-reload/deno";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = new Hono();
app.get("/", (context) => context.text("hello\n"));
app.get("/live", upgradeWebSocket(() => ({ onMessage: ({ data }, socket) => socket.send(String(data)) })));

const server = await serve(state, { port: Number(process.env["PORT"] ?? 8443) }, app.fetch);
console.log(`https://localhost:${server.addr.port}/`);
