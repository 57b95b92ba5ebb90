// deno run -A bench/roots.ts [rounds]
//
// Loading the system's roots: nativeRoots() beside tls.getCACertificates("system") of the same runtime. Each first call
// is made by a process of its own, in turns with the other; the medians of all rounds are compared.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { createSecureContext, getCACertificates } from "node:tls";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { nativeRoots } from "../src/roots/native_roots.ts";
import { deno, installRuntimes, type Runtime } from "../tests/support/runtimes.ts";

const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const CONTEXTS = 1000;
const CALLS = 1_000_000;

/** What a process measures, in milliseconds. */
const measurements: Record<string, () => Promise<Record<string, number>>> = {
  async ours() {
    const start = performance.now();
    const store = await nativeRoots();
    const loaded = performance.now();
    store.pem;
    return { load: loaded - start, loadAndPem: performance.now() - start };
  },
  theirs() {
    const start = performance.now();
    getCACertificates("system");
    return Promise.resolve({ load: performance.now() - start });
  },
  async warm() {
    const { pem } = await nativeRoots();
    const time = async (repeats: number, body: () => unknown) => {
      const start = performance.now();
      for (let index = 0; index < repeats; index++) await body();
      return performance.now() - start;
    };
    const shared = async () => (await nativeRoots()).secureContext();
    await shared();
    let [call, contexts, own] = [0, 0, 0];
    for (let round = 0; round < 10; round++) {
      const start = performance.now();
      for (let index = 0; index < CALLS / 10; index++) nativeRoots();
      call += performance.now() - start;
      contexts += await time(CONTEXTS / 10, shared);
      // Each with an array of its own, as a client that reads the roots itself has it: Deno remembers the last one.
      own += await time(CONTEXTS / 10, () => createSecureContext({ ca: [...pem] }));
    }
    return { call: call / CALLS, contexts, own };
  },
};

async function measure(runtime: Runtime, what: string, env: Record<string, string>): Promise<Record<string, number>> {
  const { HOME = "", PATH = "" } = process.env;
  const args = [...runtime.runArgs, fileURLToPath(import.meta.url), what];
  const { stdout } = await promisify(execFile)(runtime.path, args, { env: { HOME, PATH, ...env } });
  return JSON.parse(stdout);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

async function compare(runtime: Runtime, places: string, env: Record<string, string>, rounds: number): Promise<void> {
  const ours: Record<string, number>[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await measure(runtime, "ours", env));
    theirs.push((await measure(runtime, "theirs", env))["load"]!);
  }
  const line = (name: string, key: string) => {
    const [own, peer] = [median(ours.map((each) => each[key]!)), median(theirs)];
    const times = `${own.toFixed(1).padStart(6)} ms, theirs ${peer.toFixed(1).padStart(6)} ms`;
    console.log(
      `${runtime.name.padEnd(13)} ${places.padEnd(9)} ${name.padEnd(22)} ${times}, ${(peer / own).toFixed(2)} x`,
    );
  };
  line("nativeRoots()", "load");
  line("(await nativeRoots()).pem", "loadAndPem");
}

const [what = "15"] = process.argv.slice(2);
const measurement = measurements[what];
if (measurement) {
  // Node still compiles its type stripper in the background, on the processors that are to be measured.
  await setTimeout(200);
  console.log(JSON.stringify(await measurement()));
} else {
  const { bun, node22, node } = await installRuntimes();
  for (const runtime of [deno, bun, node22, node]) {
    await compare(runtime, "defaults", {}, Number(what));
    if (existsSync(BUNDLE)) await compare(runtime, "one file", { SSL_CERT_FILE: BUNDLE }, Number(what));
    const { call, contexts, own } = await measure(runtime, "warm", {});
    console.log(`${runtime.name.padEnd(13)} a later nativeRoots() takes ${(call! * 1e6).toFixed(0)} ns`);
    const ratio = `${contexts!.toFixed(1)} ms, with ca: [...] ${own!.toFixed(0)} ms, ${
      (own! / contexts!).toFixed(0)
    } x`;
    console.log(`${runtime.name.padEnd(13)} ${CONTEXTS} shared contexts take ${ratio}`);
  }
}
