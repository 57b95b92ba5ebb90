// Hono by @hono/node-server on Deno, Bun or Node, with WebSockets:
//   node examples/frameworks/hono_node.ts fullchain.pem privkey.pem
import https from "node:https";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { createAdaptorServer, upgradeWebSocket } from "@hono/node-server";
import { Hono } from "hono";
import { WebSocketServer } from "ws";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = new Hono();
app.get("/", (context) => context.text("hello\n"));
app.get("/live", upgradeWebSocket(() => ({ onMessage: ({ data }, socket) => socket.send(String(data)) })));

const websocket = { server: new WebSocketServer({ noServer: true }) };
const server = createAdaptorServer({ fetch: app.fetch, createServer: https.createServer, websocket });
attach(state, server);
server.listen(Number(process.env["PORT"] ?? 8443), () => {
  console.log(`https://localhost:${(server.address() as AddressInfo).port}/`);
});
