// What a process measures in itself of a configuration of many names. The folder holds n0.test.crt, n0.test.key, ….
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, readFile, rename, stat } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { PerformanceObserver } from "node:perf_hooks";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { getHeapSpaceStatistics } from "node:v8";
import { type AcceptOptions, loadTlsConfig, TlsState } from "../../mod.ts";
import { median } from "./report.ts";

type Figures = Record<string, number>;

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A process that visits a server under some names, in turn. */
interface Client {
  visit(port: number, names: readonly string[], count: number): Promise<void>;
  stop(): void;
}

declare const Bun: { gc(force: true): void };

const CLIENT = fileURLToPath(new URL("name_client.ts", import.meta.url));
const IN_USE = 100;
const READERS = 32;
/** How many connections a block has, whose processor time is measured. */
const BLOCK = 200;
const MEBIBYTE = 1024 * 1024;

/** How long it takes to load, to reload and to accept, and what it holds in memory. */
export async function probeNames(folder: string, count: number, node: string, blocks: number): Promise<Figures> {
  const pairs = pairsIn(folder, count);
  const client = startClient(node);
  // What is compiled at the first load, and the files that are in no cache yet, are no part of it.
  await loadTlsConfig(pairs.slice(0, 1));
  await eachFile(pairs, readFile);
  const before = memory();
  const readMs = await timed(() => eachFile(pairs, readFile));
  const { state, ...loadFigures } = await firstLoad(pairs);
  const server = await listen(acceptingServer(state));
  await client.visit(portOf(server), spread(count), IN_USE);
  server.close();
  await delay(100);
  const after = memory();

  const reloadMs = await reload(state, pairs);
  const lookMs = await timed(() => eachFile(pairs, (path) => stat(path, { bigint: true })));
  const accepts = await acceptTimes(state, pairs, client, blocks);
  client.stop();
  return {
    readMs,
    ...loadFigures,
    lookMs,
    reloadMs,
    heapMiB: after.heapMiB - before.heapMiB,
    residentMiB: after.residentMiB - before.residentMiB,
    youngMiB: after.youngMiB - before.youngMiB,
    ...accepts,
  };
}

async function firstLoad(pairs: readonly Pair[]) {
  const turns = new Turns();
  const start = performance.now();
  const config = await loadTlsConfig(pairs);
  const firstMs = performance.now() - start;
  return { firstMs, ...turns.stop(), state: new TlsState(config) };
}

/** How long it takes until a change of one name, which is not in use, is served. */
async function reload(state: TlsState, pairs: readonly Pair[]): Promise<number> {
  const [other, changed] = [pairs.at(-2)!, pairs.at(-1)!];
  for (const [from, to] of [[other.cert, changed.cert], [other.key, changed.key]] as const) {
    await copyFile(to, `${to}.kept`);
    await copyFile(from, to);
  }
  const reloadMs = await timed(async () => void state.swap(await loadTlsConfig(pairs)));
  for (const path of [changed.cert, changed.key]) await rename(`${path}.kept`, path);
  return reloadMs;
}

/** The processor time of a connection in microseconds, for states of different numbers of names. */
async function acceptTimes(all: TlsState, pairs: readonly Pair[], client: Client, blocks: number): Promise<Figures> {
  const one = new TlsState(await loadTlsConfig(pairs.slice(0, 1)));
  const hundred = new TlsState(await loadTlsConfig(pairs.slice(0, IN_USE)));
  const servers: Record<string, readonly [server: Server, names: readonly string[]]> = {
    "tls.createServer": [createTlsServer(one.tls, greet), spread(1)],
    "one name": [acceptingServer(one), spread(1)],
    "one name, with onClientHello": [acceptingServer(one, { onClientHello() {} }), spread(1)],
    "100 names": [acceptingServer(hundred), spread(IN_USE)],
    "all names": [acceptingServer(all), spread(pairs.length)],
  };
  const times = new Map<string, number[]>(Object.keys(servers).map((name) => [name, []]));
  for (const [server] of Object.values(servers)) await listen(server);
  for (let block = -1; block < blocks; block++) {
    for (const [name, [server, names]] of Object.entries(servers)) {
      const before = process.cpuUsage();
      await client.visit(portOf(server), names, BLOCK);
      const { user, system } = process.cpuUsage(before);
      // In the first round contexts are made and code is compiled.
      if (block >= 0) times.get(name)!.push((user + system) / BLOCK);
    }
  }
  for (const [server] of Object.values(servers)) server.close();
  return Object.fromEntries([...times].map(([name, values]) => [name, median(values)]));
}

function pairsIn(folder: string, count: number): Pair[] {
  const at = (index: number, extension: string) => join(folder, `n${index}.test.${extension}`);
  return Array.from({ length: count }, (_, index) => ({ cert: at(index, "crt"), key: at(index, "key") }));
}

/** A hundred names at most, from all of them. */
function spread(count: number): string[] {
  const names = Math.min(count, IN_USE);
  return Array.from({ length: names }, (_, index) => `n${Math.floor(index * count / names)}.test`);
}

async function eachFile(pairs: readonly Pair[], use: (path: string) => Promise<unknown>): Promise<void> {
  const queue = pairs.flatMap(({ cert, key }) => [cert, key]).values();
  const work = async () => {
    for (const path of queue) await use(path);
  };
  await Promise.all(Array.from({ length: READERS }, work));
}

async function timed(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

function memory() {
  const { gc } = globalThis as { gc?: () => void };
  for (let times = 0; times < 3; times++) typeof Bun === "undefined" ? gc?.() : Bun.gc(true);
  const { heapUsed, external, rss } = process.memoryUsage();
  // V8 keeps these pages, empty, once objects have survived in them.
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
  return {
    heapMiB: (heapUsed + external) / MEBIBYTE,
    residentMiB: rss / MEBIBYTE,
    youngMiB: (young?.physical_space_size ?? 0) / MEBIBYTE,
  };
}

/** The turns of the event loop, from the construction on. */
class Turns {
  #last = performance.now();
  #collectedMs = 0;
  #hasCollections = false;
  #longestTurnMs = 0;
  #longestSliceMs = 0;
  readonly #timer = setInterval(() => this.#turn(), 1);
  readonly #observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) this.#collectedMs += duration;
    this.#hasCollections = true;
  });

  constructor() {
    // The type of Deno does not declare it.
    const { supportedEntryTypes } = PerformanceObserver as { supportedEntryTypes?: readonly string[] };
    if (supportedEntryTypes?.includes("gc")) this.#observer.observe({ entryTypes: ["gc"] });
  }

  stop(): { longestTurnMs: number; longestSliceMs?: number } {
    clearInterval(this.#timer);
    this.#observer.disconnect();
    const longestTurnMs = this.#longestTurnMs;
    return this.#hasCollections ? { longestTurnMs, longestSliceMs: this.#longestSliceMs } : { longestTurnMs };
  }

  #turn(): void {
    const now = performance.now();
    const turnMs = now - this.#last;
    this.#longestTurnMs = Math.max(this.#longestTurnMs, turnMs);
    this.#longestSliceMs = Math.max(this.#longestSliceMs, turnMs - this.#collectedMs);
    this.#collectedMs = 0;
    this.#last = now;
  }
}

function greet(secure: TLSSocket): void {
  secure.on("error", () => {});
  secure.end("hello");
}

function acceptingServer(state: TlsState, options: AcceptOptions = {}): Server {
  return createServer({ noDelay: true }, (socket) => {
    state.acceptor().accept(socket, options).then(greet, () => {});
  });
}

async function listen(server: Server): Promise<Server> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function startClient(node: string): Client {
  const child = spawn(node, [CLIENT], { stdio: ["pipe", "pipe", "inherit"] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async visit(port, names, count) {
      child.stdin.write(`${JSON.stringify({ port, names, count })}\n`);
      const { value: failures } = await answers.next();
      if (failures !== "0") throw new Error(`Cannot measure: ${failures} of ${count} connections failed`);
    },
    stop: () => void child.kill(),
  };
}
