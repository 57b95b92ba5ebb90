// So many fresh connections: node bench/clients/handshakes.ts PORT COUNT FOLDER, with the client certificate of FOLDER
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createSecureContext } from "node:tls";
import { quantile } from "../support/report.ts";
import { visit } from "./visit.ts";

const CLIENTS = 8;

const [port = 0, count = 0] = process.argv.slice(2, 4).map(Number);
const folder = process.argv[4] ?? ".";
const [cert, key] = ["client.crt", "client.key"].map((name) => readFileSync(join(folder, name)));
const secureContext = createSecureContext({ cert: cert!, key: key! });
const times: number[] = [];
let begun = 0;

async function visitOften(): Promise<void> {
  while (begun++ < count) times.push(await visit(port, secureContext));
}

await Promise.all(Array.from({ length: CLIENTS }, visitOften));
console.log(JSON.stringify({ p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) }));
process.exit(0);
