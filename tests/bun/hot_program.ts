// A program for `bun --hot`: it writes the port and the mechanism of its server, and answers with the text that the test
// puts in place of VERSION. Run by hot_reload_test.ts.
import { readFileSync } from "node:fs";
import process from "node:process";
import { TlsConfig, TlsState } from "../../mod.ts";
import { serve } from "../../src/bun.ts";

const pair = JSON.parse(readFileSync(process.env["TLS_RELOAD_PAIR"]!, "utf8"));
const server = await serve(new TlsState(new TlsConfig(pair)), {
  hostname: "127.0.0.1",
  port: Number(process.env["TLS_RELOAD_PORT"]),
  idleTimeout: 255,
  fetch: () => new Response("VERSION"),
});
console.log(`${server.port} ${server.mechanism} VERSION`);
