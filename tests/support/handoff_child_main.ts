// A process with a handoff: what handoff_child.ts starts. It reads a line of settings, then commands, and answers each
// with a line. As a worker it gets the settings by a message, and swaps by itself.
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { TlsConfig, TlsState } from "../../mod.ts";
import { handoffSupport } from "../../src/native/handoff_support.ts";
import { openHandoff } from "../../src/native/open_handoff.ts";
import type { HandoffChildInit } from "./handoff_child.ts";
import { NATIVE_RUNTIMES } from "./native_runtimes.ts";

const say = (value: unknown) => console.log(JSON.stringify(value));

async function serve({ certificates, kind = 0, port = 0, reusePort = false }: HandoffChildInit) {
  const configs = certificates.map(({ cert, key }) => new TlsConfig({ cert, key }));
  const state = new TlsState(configs[0]!);
  const errors: string[] = [];
  let proof: Promise<unknown> = Promise.resolve();
  const runtime = NATIVE_RUNTIMES[kind]!({ reusePort, beforeProof: () => proof as Promise<void> });
  const handoff = await openHandoff(state, runtime, { hostname: "127.0.0.1", port }, {
    onTlsError: (error) => errors.push(String((error as { code?: string }).code ?? error)),
  });
  return {
    handoff,
    state,
    errors,
    /** Lets no proof succeed before a promise does. */
    hold: (until: Promise<unknown>) => void (proof = until),
    swap() {
      // The driver would keep every server that it has started.
      runtime.started.length = 0;
      state.swap(configs[(state.generation + 1) % configs.length]!);
    },
  };
}

async function serveMain(): Promise<void> {
  const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
  const nextLine = async () => JSON.parse((await lines.next()).value ?? "null");
  const init: HandoffChildInit = await nextLine();
  const server = await serve(init).catch(async (error) => {
    say({ code: error.code, reason: (await handoffSupport()).reason });
    process.exit();
  });
  const { handoff, state, errors, hold, swap } = server;
  say({ port: handoff.address.port, reason: handoff.mechanismReason });
  const taken: number[] = [];
  const workers: Worker[] = [];
  const commands: Readonly<Record<string, (...args: never[]) => unknown>> = {
    /** Swaps, and waits until the new generation serves. */
    async swap() {
      const begin = performance.now();
      swap();
      const ms = performance.now() - begin;
      while (handoff.servers.at(-1)!.generation !== state.generation) await delay(1);
      return { generation: state.generation, ms };
    },
    /** Swaps with so many free descriptors. */
    swapWith(free: number) {
      commands["fill"]!(free as never);
      try {
        swap();
        return { generation: state.generation };
      } catch (error) {
        return { code: (error as { code?: string }).code, generation: state.generation };
      }
    },
    /** Swaps, and spawns a process while the socket is parked. */
    async spawn() {
      const proof = Promise.withResolvers<void>();
      hold(proof.promise);
      swap();
      const { pid } = spawn("sleep", ["30"], { stdio: "ignore" });
      await delay(50);
      proof.resolve();
      while (handoff.servers.at(-1)!.generation !== state.generation) await delay(1);
      return { pid };
    },
    unref() {
      handoff.unref();
      swap();
      return {};
    },
    /** Parks for ever. */
    park() {
      hold(new Promise(() => {}));
      swap();
      return {};
    },
    generations: () => handoff.generations,
    errors: () => errors,
    descriptors: () => readdirSync("/proc/self/fd").length - 1,
    memory: () => process.memoryUsage().rss,
    /** How often this thread wakes up in half a second in which nobody asks for anything: timers that were left run. */
    async wakeups() {
      const count = () =>
        Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1]);
      const before = count();
      await delay(500);
      return count() - before;
    },
    /** Takes descriptors until so many are free. */
    fill(free: number) {
      try {
        for (;;) taken.push(openSync("/dev/null", "r"));
      } catch {
        for (const descriptor of taken.splice(-free, free)) closeSync(descriptor);
      }
      return {};
    },
    release() {
      for (const descriptor of taken.splice(0)) closeSync(descriptor);
      return {};
    },
    close() {
      handoff.close();
      return {};
    },
    async work(count: number, settings: object) {
      const ports = Array.from({ length: count }, async () => {
        const worker = new Worker(new URL(import.meta.url), { workerData: { ...init, ...settings } });
        workers.push(worker);
        return await new Promise((resolve) => worker.once("message", resolve));
      });
      return await Promise.all(ports);
    },
    /** Lets every worker swap at once, so many times. */
    async workersSwap(times: number) {
      return await Promise.all(workers.map((worker) => {
        worker.postMessage(times);
        return new Promise((resolve) => worker.once("message", resolve));
      }));
    },
    /** Parks in every worker, for ever. */
    async workersPark() {
      return await Promise.all(workers.map((worker) => {
        worker.postMessage("park");
        return new Promise((resolve) => worker.once("message", resolve));
      }));
    },
    async terminate() {
      await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
      return {};
    },
    /**
     * A swap every so many milliseconds, announced by a line before and after it. Then how long each swap() took, and
     * each longest time that the event loop was away between a swap and the next.
     */
    async rotate(times: number, everyMs: number) {
      const costs: number[] = [];
      const blocks: number[] = [];
      // Without the time in which other processes had the processor.
      const clock = () => performance.now() - Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[1]) / 1e6;
      let [last, longest] = [clock(), 0];
      const look = () => {
        const now = clock();
        longest = Math.max(longest, now - last);
        last = now;
      };
      const timer = setInterval(look, 1);
      await delay(everyMs);
      for (let time = 0; time < times; time++) {
        say({ before: state.generation + 1 });
        longest = 0;
        const begin = performance.now();
        swap();
        costs.push(performance.now() - begin);
        say({ after: state.generation });
        await delay(everyMs);
        blocks.push(longest);
      }
      clearInterval(timer);
      return { costs, blocks };
    },
  };
  for (let line; (line = await nextLine());) {
    const [command, ...args] = line as [string, ...never[]];
    say(await commands[command]!(...args));
    if (command === "unref") break;
  }
  if (process.versions["bun"]) process.stdin.unref?.();
  else process.stdin.destroy();
}

async function serveInWorker(): Promise<void> {
  const { handoff, state, errors, hold, swap } = await serve(workerData);
  parentPort!.postMessage(handoff.address.port);
  parentPort!.on("message", async (times: number | "park") => {
    if (times === "park") {
      hold(new Promise(() => {}));
      swap();
      return parentPort!.postMessage({});
    }
    for (let time = 0; time < times; time++) {
      swap();
      while (handoff.servers.at(-1)!.generation !== state.generation) await delay(1);
    }
    parentPort!.postMessage({ generation: state.generation, errors });
  });
}

// Deno dies if the first listener of a signal finds no descriptor.
process.on("SIGUSR2", () => {});
if (isMainThread) await serveMain();
else await serveInWorker();
