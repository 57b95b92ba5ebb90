// Hono on Node by @hono/node-server, with WebSockets:
//   node examples/frameworks/hono_node.ts fullchain.pem privkey.pem
import https from "node:https";
import process from "node:process";
import { serve, upgradeWebSocket } from "@hono/node-server";
import { Hono } from "hono";
import { WebSocketServer } from "ws";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = new Hono();
app.get("/", (context) => context.text("hello\n"));
app.get("/live", upgradeWebSocket(() => ({ onMessage: ({ data }, socket) => socket.send(String(data)) })));

const server = serve({
  fetch: app.fetch,
  port: Number(process.env["PORT"] ?? 8443),
  createServer: https.createServer,
  websocket: { server: new WebSocketServer({ noServer: true }) },
}, ({ port }) => console.log(`https://localhost:${port}/`));
attach(state, server);
