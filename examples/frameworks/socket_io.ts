// Socket.IO 4 on Deno, Bun or Node, by polling and by WebSocket:
//   node examples/frameworks/socket_io.ts fullchain.pem privkey.pem
import https from "node:https";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { Server } from "socket.io";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const server = https.createServer();
attach(state, server);
new Server(server).on("connection", (socket) => {
  socket.on("echo", (message) => socket.emit("echo", message));
});
server.listen(Number(process.env["PORT"] ?? 8443), () => {
  console.log(`https://localhost:${(server.address() as AddressInfo).port}/`);
});
