// MQTT by aedes on Deno, Bun or Node, over TLS and over WebSocket. Subscriptions last over every swap:
//   node examples/frameworks/aedes.ts fullchain.pem privkey.pem
import { Aedes } from "aedes";
import https from "node:https";
import type { IncomingMessage } from "node:http";
import net, { type AddressInfo } from "node:net";
import process from "node:process";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });
const broker = await Aedes.createBroker();

const mqtt = net.createServer((socket) => {
  state.acceptor().accept(socket).then((secure) => broker.handle(secure), console.warn);
});
mqtt.listen(Number(process.env["PORT"] ?? 8883), () => {
  console.log(`mqtts://localhost:${(mqtt.address() as AddressInfo).port}/`);
});

const web = https.createServer();
attach(state, web);
new WebSocketServer({ server: web }).on("connection", (socket: WebSocket, request: IncomingMessage) => {
  broker.handle(createWebSocketStream(socket), request);
});
web.listen(Number(process.env["WEB_PORT"] ?? 8084), () => {
  console.log(`wss://localhost:${(web.address() as AddressInfo).port}/`);
});
