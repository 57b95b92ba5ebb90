// Express 5 on Deno, Bun or Node:
//   node examples/frameworks/express.ts fullchain.pem privkey.pem
import https from "node:https";
import type { AddressInfo } from "node:net";
import process from "node:process";
import express from "express";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = express();
app.get("/", (_request, response) => void response.send("hello\n"));

const server = https.createServer(app);
attach(state, server);
server.listen(Number(process.env["PORT"] ?? 8443), () => {
  console.log(`https://localhost:${(server.address() as AddressInfo).port}/`);
});
