// What a process measures in itself, each probe in one of its own: deno run -A bench/support/probes.ts NAME [FOLDER …]
// It prints one JSON object of figures. Times are in milliseconds unless a name says otherwise.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { createSecureContext, getCACertificates } from "node:tls";
import { loadTlsConfig, nativeRoots, proveTlsConfig, TlsConfig, TlsState } from "../../mod.ts";
import { probeNames } from "./name_probes.ts";
import { median } from "./report.ts";

type Figures = Record<string, number>;

const LOADS = 50;
const CONTEXTS = 40;
const CALLS = 10_000;
const RUNS = 50;
const TURNS = 10;

const PROBES: Record<string, (folder: string, ...rest: string[]) => Promise<Figures>> = {
  async snapshot(folder) {
    const { cert, key } = await pairOf(folder);
    const state = new TlsState(new TlsConfig({ cert, key }));
    return { acceptorNs: await callNs(() => state.acceptor()), currentNs: await callNs(() => state.current()) };
  },
  async swap(folder) {
    const [current, next] = [new TlsConfig(await pairOf(folder)), new TlsConfig(await pairOf(folder))];
    const clientAuth = { ca: current.leaf.pem, mode: "required" } as const;
    const asking = new TlsConfig({ ...await pairOf(folder), clientAuth });
    const times: Record<string, number> = {};
    for (const [name, configs] of Object.entries({ plainUs: [current, next], clientAuthUs: [current, asking] })) {
      await Promise.all(configs.map(proveTlsConfig));
      const state = new TlsState(configs[0]!);
      let count = 0;
      times[name] = await callNs(() => state.swap(configs[++count % 2]!)) / 1e3;
    }
    return times;
  },
  async loading(folder) {
    // Before the others, because `first` is of a process that has just begun.
    const load = await timeLoads(() => loadTlsConfig(join(folder, "tls.crt"), join(folder, "tls.key")));
    const pair = await pairOf(folder);
    // One each, because a proof is remembered.
    const configs = Array.from({ length: LOADS }, () => new TlsConfig(pair));
    return {
      first: load.first,
      load: load.warm,
      prove: (await timeLoads(() => proveTlsConfig(configs.pop()!))).warm,
      check: (await timeLoads(async () => new TlsConfig(await pairOf(folder)))).warm,
      bare: (await timeLoads(async () => createSecureContext(await pairOf(folder)))).warm,
    };
  },
  names: (folder, count, node = "", blocks) => probeNames(folder, Number(count), node, Number(blocks)),
  async roots() {
    const start = performance.now();
    const store = await nativeRoots();
    const loaded = performance.now();
    store.pem;
    return { load: loaded - start, loadAndPem: performance.now() - start };
  },
  runtimeRoots() {
    const start = performance.now();
    getCACertificates("system");
    return Promise.resolve({ load: performance.now() - start });
  },
  async warmRoots() {
    const { pem } = await nativeRoots();
    const shared = async () => (await nativeRoots()).secureContext();
    await shared();
    let [sharedContexts, ownContexts] = [0, 0];
    for (let turn = 0; turn < TURNS; turn++) {
      sharedContexts += await time(CONTEXTS / TURNS, shared);
      // Each with an array of its own, as a client that reads the roots itself has it: Deno remembers the last one.
      ownContexts += await time(CONTEXTS / TURNS, () => createSecureContext({ ca: [...pem] }));
    }
    return {
      callNs: await callNs(() => nativeRoots()),
      sharedUs: sharedContexts / CONTEXTS * 1e3,
      ownUs: ownContexts / CONTEXTS * 1e3,
    };
  },
};

async function pairOf(folder: string): Promise<{ cert: string; key: string }> {
  const [cert, key] = await Promise.all(["tls.crt", "tls.key"].map((name) => readFile(join(folder, name), "utf8")));
  return { cert: cert!, key: key! };
}

/** The median of many runs of calls; their results stay reachable for a while, so that no compiler leaves them out. */
async function callNs(call: () => unknown): Promise<number> {
  const results = Array.from<unknown>({ length: CALLS });
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now();
    for (let index = 0; index < CALLS; index++) results[index] = call();
    times.push((performance.now() - start) / CALLS * 1e6);
    await setTimeout(0);
  }
  return median(times);
}

async function time(repeats: number, body: () => unknown): Promise<number> {
  const start = performance.now();
  for (let index = 0; index < repeats; index++) await body();
  return performance.now() - start;
}

async function timeLoads(body: () => unknown): Promise<{ first: number; warm: number }> {
  const times: number[] = [];
  for (let index = 0; index < LOADS; index++) times.push(await time(1, body));
  return { first: times[0]!, warm: median(times) };
}

// Node still compiles its type stripper in the background, on the processors that are to be measured.
await setTimeout(200);
const [name = "", folder = ".", ...rest] = process.argv.slice(2);
console.log(JSON.stringify(await PROBES[name]!(folder, ...rest)));
