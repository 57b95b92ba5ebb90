// WebSockets of ws on Deno, Bun or Node:
//   node examples/frameworks/ws.ts fullchain.pem privkey.pem
import https from "node:https";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { WebSocketServer } from "ws";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const server = https.createServer();
attach(state, server);
new WebSocketServer({ server }).on("connection", (socket) => {
  socket.on("message", (message) => socket.send(String(message)));
});
server.listen(Number(process.env["PORT"] ?? 8443), () => {
  console.log(`wss://localhost:${(server.address() as AddressInfo).port}/`);
});
