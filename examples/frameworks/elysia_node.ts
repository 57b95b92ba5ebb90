// Elysia by the request listener of @hono/node-server on Deno, Bun or Node:
//   node examples/frameworks/elysia_node.ts fullchain.pem privkey.pem
import https from "node:https";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { getRequestListener } from "@hono/node-server";
import { Elysia } from "elysia";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = new Elysia().get("/", () => "hello\n");

const server = https.createServer(getRequestListener(app.fetch));
attach(state, server);
server.listen(Number(process.env["PORT"] ?? 8443), () => {
  console.log(`https://localhost:${(server.address() as AddressInfo).port}/`);
});
