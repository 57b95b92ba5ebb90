// The clients of a rotation: node bench/clients/rotation.ts PORT SECONDS FINGERPRINT FINGERPRINT
// They connect in turns without swaps, the control, and with them; SECONDS is the length of a turn. They ask for a swap
// with a line, wait for a line in answer, and print what they saw.
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { createSecureContext } from "node:tls";
import { HttpConnection } from "../../tests/support/http.ts";
import { quantile } from "../support/report.ts";
import { CLIENTS, LASTING, type Outcome, SWAP, SWAP_EVERY_MS } from "./outcome.ts";
import { inTime, visit } from "./visit.ts";

type Phase = "pause" | "control" | "swaps" | "over";

const WARM_UP_MS = 200;
/** What a server that reloads behind the caller's back is given to finish. */
const SETTLE_MS = 100;
const TURNS = 2;
const ASK_EVERY_MS = 50;
const TICK_MS = 10;
/** How long a turn lasts at most. */
const LONGEST_MS = 5_000;

const [port = 0, seconds = 0] = process.argv.slice(2, 4).map(Number);
const certificates = process.argv.slice(4);
const answers = createInterface({ input: process.stdin });
const secureContext = createSecureContext();
const times = { control: [] as number[], swaps: [] as number[] };
const lasted = { control: 0, swaps: 0 };
let phase: Phase = "pause";
let [lost, stale, asked, confirmed] = [0, 0, 0, 0];

const busy = await openLasting();
const idle = await openLasting();
for (const connection of idle) await inTime(connection.ask("/"));
const half = await openLasting();
for (const { socket } of half) socket.write("GET / HTTP/1.1\r\n");

const asking = Promise.allSettled(busy.map(askOften));
const visiting = Promise.all(Array.from({ length: CLIENTS }, visitOften));
await delay(WARM_UP_MS);
for (let turn = 0; turn < TURNS; turn++) {
  phase = "control";
  await pass("control", turn, () => delay(TICK_MS));
  phase = "swaps";
  await pass("swaps", turn, swap);
  phase = "pause";
  await delay(SETTLE_MS);
}
phase = "over";
await visiting;

const outcome: Outcome = {
  seconds: lasted.swaps,
  visits: times.swaps.length,
  swaps: confirmed,
  lost,
  stale,
  busy: (await asking).filter(({ status }) => status === "fulfilled").length,
  idle: await answered(idle, (connection) => connection.send("/")),
  half: await answered(half, ({ socket }) => void socket.write(`Host: localhost:${port}\r\n\r\n`)),
  p50Ms: quantile(times.swaps, 0.5),
  p99Ms: quantile(times.swaps, 0.99),
  controlP50Ms: quantile(times.control, 0.5),
  controlP99Ms: quantile(times.control, 0.99),
};
console.log(JSON.stringify(outcome));
process.exit(0);

/** Goes on for a turn, on a slow machine until enough visits were made in it. */
async function pass(kind: keyof typeof times, turn: number, next: () => Promise<void>): Promise<void> {
  const start = performance.now();
  const passed = () => performance.now() - start;
  const isEnough = () => times[kind].length >= (turn + 1) * CLIENTS || passed() > LONGEST_MS;
  while (passed() < seconds * 1000 || !isEnough()) await next();
  lasted[kind] += passed() / 1000;
}

async function swap(): Promise<void> {
  await delay(SWAP_EVERY_MS);
  asked++;
  console.log(SWAP);
  await once(answers, "line");
  confirmed++;
}

async function visitOften(): Promise<void> {
  while (phase !== "over") await visitOnce().catch(() => lost++);
}

async function visitOnce(): Promise<void> {
  const [since, during] = [confirmed, phase];
  const firstByteMs = await visit(port, secureContext, (fingerprint256) => {
    // While a swap is under way either is right; else it must be the one that was confirmed when this began.
    if (since === asked && fingerprint256 !== certificates[since % 2]) stale++;
  });
  if (during === phase && (during === "control" || during === "swaps")) times[during].push(firstByteMs);
}

async function askOften(connection: HttpConnection): Promise<void> {
  while (phase !== "over") {
    await inTime(connection.ask("/"));
    await delay(ASK_EVERY_MS);
  }
}

async function openLasting(): Promise<readonly HttpConnection[]> {
  return await Promise.all(Array.from({ length: LASTING }, () => {
    return inTime(HttpConnection.open(port, { servername: "localhost", secureContext }));
  }));
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
  return answers.filter(({ status }) => status === "fulfilled").length;
}
