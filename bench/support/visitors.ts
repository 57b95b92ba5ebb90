// The clients of a rotation: node bench/support/visitors.ts PORT SECONDS FINGERPRINT FINGERPRINT
// They ask for a swap with a line, wait for a line in answer, and print what they saw.
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { createSecureContext } from "node:tls";
import { HttpConnection } from "../../tests/support/http.ts";
import { CLIENTS, LASTING, type Outcome, SWAP, SWAP_EVERY_MS } from "./visit.ts";

const TIMEOUT_MS = 5_000;
/** What a server that reloads behind the caller's back is given to finish. */
const SETTLE_MS = 300;

const [port = 0, seconds = 0] = process.argv.slice(2, 4).map(Number);
const certificates = process.argv.slice(4);
const answers = createInterface({ input: process.stdin });
const secureContext = createSecureContext();
let [visits, lost, stale, asked, confirmed] = [0, 0, 0, 0, 0];

const idle = await openLasting();
for (const connection of idle) await inTime(connection.ask("/"));
const half = await openLasting();
for (const { socket } of half) socket.write("GET / HTTP/1.1\r\n");

const start = performance.now();
const isOver = () => performance.now() - start > seconds * 1000;
await Promise.all([swapOften(), ...Array.from({ length: CLIENTS }, visitOften)]);
const taken = (performance.now() - start) / 1000;
await delay(SETTLE_MS);

const outcome: Outcome = {
  seconds: taken,
  visits,
  swaps: confirmed,
  lost,
  stale,
  idle: await answered(idle, (connection) => connection.send("/")),
  half: await answered(half, ({ socket }) => void socket.write(`Host: localhost:${port}\r\n\r\n`)),
};
console.log(JSON.stringify(outcome));
process.exit(0);

async function swapOften(): Promise<void> {
  while (!isOver()) {
    await delay(SWAP_EVERY_MS);
    asked++;
    console.log(SWAP);
    await once(answers, "line");
    confirmed++;
  }
}

async function visitOften(): Promise<void> {
  while (!isOver()) await visit().catch(() => lost++);
}

async function visit(): Promise<void> {
  const since = confirmed;
  const connection = await open();
  // While a swap is under way either is right; else it must be the one that was confirmed when this began.
  const isStale = since === asked && connection.fingerprint256 !== certificates[since % 2];
  await inTime(connection.ask("/")).finally(() => connection.close());
  visits++;
  if (isStale) stale++;
}

function open(): Promise<HttpConnection> {
  return inTime(HttpConnection.open(port, { servername: "localhost", secureContext }));
}

async function openLasting(): Promise<readonly HttpConnection[]> {
  return await Promise.all(Array.from({ length: LASTING }, open));
}

/** How many of these connections still give an answer. */
async function answered(
  connections: readonly HttpConnection[],
  goOn: (connection: HttpConnection) => void,
): Promise<number> {
  const answers = await Promise.allSettled(connections.map((connection) => {
    goOn(connection);
    return inTime(connection.answer());
  }));
  return answers.filter((each) => each.status === "fulfilled" && each.value.status === 200).length;
}

function inTime<T>(promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("not in time")), TIMEOUT_MS);
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}
