// The core, beside the runtime's own servers in the same run, on the runtime that it is started with:
//   deno run -A bench/acceptor.ts      bun bench/acceptor.ts      node bench/acceptor.ts
import { bench, do_not_optimize, run } from "mitata";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createListener, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { loadTlsConfig, TlsConfig, TlsState } from "../mod.ts";
import { issueServer } from "../tests/support/certificates.ts";
import { portOf } from "../tests/support/peers.ts";
import { runtimeName } from "../tests/support/runtimes.ts";

const ROUNDS = 7;
const ROUND_MS = 1_500;
const CLIENTS = 8;
const SWAPS = 10_000;
const REQUEST = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const BODY = "x".repeat(200);

const [mode = "main", port = "0", milliseconds = String(ROUND_MS)] = process.argv.slice(2);
if (mode === "main") await main();
else await client(mode, Number(port), Number(milliseconds));
process.exit(0);

async function main(): Promise<void> {
  console.log(`${runtimeName()}, ${process.platform} ${process.arch}\n`);
  const issued = [await issueServer("first"), await issueServer("second")] as const;
  const configs = issued.map(({ cert, key }) => new TlsConfig({ cert, key }));
  const state = new TlsState(configs[0]!);

  bench("state.acceptor()", () => do_not_optimize(state.acceptor()));
  bench("state.current()", () => do_not_optimize(state.current()));
  await run();

  const handler: RequestListener = (_request, response) => void response.end(BODY);
  const greet = (secure: TLSSocket) => void secure.on("error", () => {}).end("hello");
  const overAcceptor = (use: (secure: TLSSocket) => unknown) =>
    createListener({ noDelay: true }, (socket) => void state.acceptor().accept(socket).then(use, () => {}));
  const http = createHttpServer(handler);
  Object.defineProperty(http, "listening", { value: true });

  await compare("accepted connections per second", "connect", {
    "TlsAcceptor": overAcceptor(greet),
    "tls.createServer": createTlsServer(state.tls, greet),
  });
  await compare("keep-alive requests per second, body of 200 B", "keep-alive", {
    "TlsAcceptor + node:http": overAcceptor((secure) => http.emit("connection", secure)),
    "https.createServer": createHttpsServer(state.tls, handler),
  });
  await timeLoading(issued[0]);
  for (const swaps of [0, SWAPS]) await measureMemory(swaps, configs);
}

/** Runs all servers in turn, round after round, and prints the median of each and of its ratio to the last. */
async function compare(title: string, mode: string, servers: Record<string, Server>): Promise<void> {
  const rates = new Map<string, number[]>();
  for (const server of Object.values(servers)) await once(server.listen(0, "127.0.0.1"), "listening");
  for (let round = 0; round < ROUNDS + 1; round++) {
    for (const [name, server] of Object.entries(servers)) {
      const rate = await load(mode, portOf(server), ROUND_MS);
      if (round > 0) rates.set(name, [...rates.get(name) ?? [], rate]);
    }
  }
  const peer = rates.get(Object.keys(servers).at(-1)!)!;
  console.log(`\n${title} (medians of ${ROUNDS} interleaved rounds)`);
  for (const [name, each] of rates) {
    const ratio = median(each.map((rate, round) => rate / peer[round]!));
    const spread = `${Math.round(Math.min(...each))} to ${Math.round(Math.max(...each))}`;
    console.log(
      `  ${name.padEnd(26)}${String(Math.round(median(each))).padStart(8)}  (${spread})  x ${ratio.toFixed(2)}`,
    );
  }
  for (const server of Object.values(servers)) server.close();
}

async function timeLoading({ cert, key }: { cert: string; key: string }): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  await writeFile(join(folder, "a.crt"), cert);
  await writeFile(join(folder, "a.key"), key, { mode: 0o600 });
  const times: number[] = [];
  for (let count = 0; count < 60; count++) {
    const start = performance.now();
    await loadTlsConfig(join(folder, "a.crt"), join(folder, "a.key"));
    times.push(performance.now() - start);
  }
  const warm = times.slice(10);
  console.log(`\nloadTlsConfig() with proof: ${median(warm).toFixed(1)} ms warm, ${times[0]!.toFixed(1)} ms at first`);
  await rm(folder, { recursive: true });
}

/** Heap and external memory before and after the same load, with swaps and without. */
async function measureMemory(swaps: number, configs: readonly TlsConfig[]): Promise<void> {
  const state = new TlsState(configs[0]!);
  const greet = (secure: TLSSocket) => void secure.end("hello");
  const server = createListener((socket) => void state.acceptor().accept(socket).then(greet, () => {}));
  await once(server.listen(0, "127.0.0.1"), "listening");
  await load("connect", portOf(server), ROUND_MS);
  const before = memory();
  const loading = load("connect", portOf(server), 10_000);
  for (let count = 0; count < swaps; count++) {
    state.swap(configs[count % 2]!);
    if (count % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await loading;
  const grown = (memory() - before) / 1024 / 1024;
  console.log(`heap and external memory after 10 s of load with ${swaps} swaps: ${grown.toFixed(1)} MiB more`);
  server.close();
}

function memory(): number {
  const collect = globalThis as { gc?: () => void; Bun?: { gc(force: true): void } };
  for (let count = 0; count < 3; count++) collect.gc?.();
  collect.Bun?.gc(true);
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Runs the clients in a process of their own, and resolves to what they did per second. */
async function load(mode: string, port: number, milliseconds: number): Promise<number> {
  const args = process.versions["deno"] ? ["run", "-A"] : [];
  const file = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [...args, file, mode, String(port), String(milliseconds)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (text) => output += text);
  await once(child, "close");
  return Number(output);
}

async function client(mode: string, port: number, milliseconds: number): Promise<void> {
  const start = performance.now();
  const isOver = () => performance.now() - start > milliseconds;
  let count = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    const dial = () => connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
    if (mode === "connect") {
      while (!isOver()) {
        const socket = dial();
        await new Promise((resolve) => socket.resume().once("close", resolve).on("error", () => {}));
        count++;
      }
    } else {
      const socket = dial().setNoDelay(true);
      while (!isOver()) {
        socket.write(REQUEST);
        for (let text = ""; !text.includes(BODY);) text += (await once(socket, "data"))[0];
        count++;
      }
      socket.destroy();
    }
  }));
  console.log(count / ((performance.now() - start) / 1000));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
