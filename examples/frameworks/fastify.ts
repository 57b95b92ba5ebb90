// Fastify 5 on Deno, Bun or Node:
//   node examples/frameworks/fastify.ts fullchain.pem privkey.pem
import process from "node:process";
import fastify from "fastify";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = fastify({ https: state.tls });
attach(state, app.server);
app.get("/", () => "hello\n");

// Without a host, Fastify would listen on each address of localhost by a server of its own.
const address = await app.listen({ host: "0.0.0.0", port: Number(process.env["PORT"] ?? 8443) });
console.log(`https://localhost:${new URL(address).port}/`);
