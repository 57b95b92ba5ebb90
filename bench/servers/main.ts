// The servers that are measured, each in a process of its own:
//   deno run -A bench/servers/main.ts NAME FOLDER [--client-certificates]       bun …       node …
// FOLDER holds first.crt, first.key, second.crt, second.key, clients.crt, and what is to be watched: tls.crt and tls.key.
// It prints its port and then answers the lines of its standard input: `swap`, `block` and `memory`. It ends when that
// does.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { setImmediate } from "node:timers";
import { setTimeout as delay } from "node:timers/promises";
import { BUN_SERVERS } from "./bun.ts";
import { DENO_SERVERS } from "./deno.ts";
import { NODE_SERVERS } from "./node.ts";
import type { Identity, Start } from "./serving.ts";
import { readIdentity, WATCHING_SERVERS } from "./watching.ts";

const WATCH_MS = 100;

declare const Bun: { gc(force: true): void };

const SERVERS: Record<string, Start> = { ...NODE_SERVERS, ...BUN_SERVERS, ...DENO_SERVERS, ...WATCHING_SERVERS };

function identity(name: string): Identity {
  const pair = readIdentity(folder, name);
  if (!asksForCertificates) return pair;
  const ca = readFileSync(join(folder, "clients.crt"), "utf8");
  return { ...pair, ca, requestCert: true, rejectUnauthorized: true };
}

async function swap(): Promise<number> {
  await started.swap?.(index = index === 0 ? 1 : 0);
  return index;
}

/** Swaps, and tells for how many milliseconds the event loop could do nothing else, at most. */
async function longestBlock(): Promise<number> {
  let [longest, last, isOver] = [0, performance.now(), false];
  const tick = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(tick);
  };
  setImmediate(tick);
  await swap();
  // The next native server starts after the swap.
  await delay(WATCH_MS);
  isOver = true;
  return longest;
}

/** What JavaScript and its runtime hold, in MiB, after garbage has been collected. */
function memory(): number {
  const { gc } = globalThis as { gc?: () => void };
  for (let count = 0; count < 3; count++) typeof Bun === "undefined" ? gc?.() : Bun.gc(true);
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1024 / 1024;
}

const [name = "", folder = ".", flag] = process.argv.slice(2);
const asksForCertificates = flag === "--client-certificates";
const started = await SERVERS[name]!([identity("first"), identity("second")], folder);
console.log(started.port);
let index: 0 | 1 = 0;
const commands: Record<string, () => number | Promise<number>> = { swap, block: longestBlock, memory };
for await (const line of createInterface({ input: process.stdin })) console.log(await commands[line]!());
process.exit(0);
