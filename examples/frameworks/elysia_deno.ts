// Elysia on Deno, over HTTP/1.1 and HTTP/2:
//   deno run -A examples/frameworks/elysia_deno.ts fullchain.pem privkey.pem
import process from "node:process";
import { Elysia } from "elysia";
import { serve } from "@x/tls-reload/deno";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, onSignal: "SIGHUP", logger: console });

const app = new Elysia().get("/", () => "hello\n");

const server = await serve(state, { port: Number(process.env["PORT"] ?? 8443) }, app.fetch);
console.log(`https://localhost:${server.addr.port}/`);
