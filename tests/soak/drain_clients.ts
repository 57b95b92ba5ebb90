// Many clients of one server, each with a connection on which it asks now and then: a program of Node, which tells in
// which second of a drain each connection has ended.
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";

/** What the clients saw. */
export interface DrainReport {
  /** How many connections have ended in each second since the swap. */
  readonly perSecond: readonly number[];
  /** How many were never open, or ended before the swap. */
  readonly failed: number;
}

const HANDSHAKES_AT_ONCE = 50;
const ASK_EVERY_MS = 2_000;
/** Longer than a drain of which the last moment of force is after 20 seconds. */
const PATIENCE_MS = 30_000;

const count = Number(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { port, cert, key } = JSON.parse((await lines.next()).value as string);
const sockets = new Set<TLSSocket>();
const perSecond: number[] = [];
/** When the drain began. */
let begin: number | undefined = undefined;
let failed = 0;

function ended(socket: TLSSocket): void {
  if (!sockets.delete(socket)) return;
  socket.destroy();
  if (begin === undefined) {
    failed++;
    return;
  }
  const second = Math.floor((performance.now() - begin) / 1_000);
  while (perSecond.length <= second) perSecond.push(0);
  perSecond[second]!++;
}

function open(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, cert, key, rejectUnauthorized: false });
    sockets.add(socket);
    socket.on("secureConnect", () => {
      resolve();
      ask(socket);
    });
    // A client follows `Connection: close`.
    socket.on("data", (chunk) => /connection: close/i.test(String(chunk)) && ended(socket));
    for (const event of ["error", "end", "close"]) {
      socket.on(event, () => {
        ended(socket);
        resolve();
      });
    }
  });
}

function ask(socket: TLSSocket): void {
  if (!sockets.has(socket)) return;
  socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  setTimeout(() => ask(socket), ASK_EVERY_MS * (0.5 + Math.random()));
}

let left = count;
await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, async () => {
  while (left-- > 0) await open();
}));
console.log("open");
await lines.next();
begin = performance.now();
while (sockets.size > 0 && performance.now() - begin < PATIENCE_MS) await delay(100);
console.log(JSON.stringify({ perSecond, failed } satisfies DrainReport));
process.exit();
