// Attacks what reads certificates, keys, roots and first bytes:
//   deno task fuzz [--seconds N] [--seed N] [target …]          guided by coverage
//   deno task fuzz --engine fast-check --runs 1000000 pem       a number of inputs
//   node tests/fuzz/run.ts --engine fast-check --runs 1000000   the same on Node; Bun takes the same arguments
//
// Guided by coverage with Jazzer.js (libFuzzer) on Node, and with mutations of fast-check where its addon does not
// load: it needs glibc 2.38, so --node may name a program that starts Node with one. --engine fast-check asks for them.
// The same seed gives the same inputs. What is found is written to .runtimes/fuzz, to be named and put into the corpus.
import fc from "fast-check";
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { deno, installRuntimes } from "../support/runtimes.ts";
import { mutated } from "./mutations.ts";
import { seeds } from "./seeds.ts";
import { closeAcceptor, targets } from "./targets.ts";

type Name = keyof typeof targets;

const FUZZER = "npm:@jazzer.js/core@4.0.0";
/** Where what is fuzzed is built, and the one folder that this repository installs into. */
const FOLDER = fileURLToPath(new URL("../../.runtimes/fuzz/", import.meta.url));
const CORPUS = new URL("corpus/", import.meta.url);
const MAX_INPUT_BYTES = 8192;

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    seconds: { type: "string" },
    runs: { type: "string", default: String(2 ** 31) },
    seed: { type: "string", default: "1" },
    node: { type: "string" },
    engine: { type: "string", default: "jazzer" },
  },
});
const [runs, seed] = [Number(values.runs), Number(values.seed)];
/** A number of runs takes as long as it takes. */
const seconds = Number(values.seconds ?? (runs === 2 ** 31 ? 60 : 86_400));

/** Runs a program to its end, with what it prints. */
async function runProgram(
  command: string,
  args: readonly string[],
  echo: boolean,
): Promise<{ ok: boolean; output: string }> {
  const child = spawn(command, args, { cwd: FOLDER, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      output += text;
      if (echo) process.stderr.write(text);
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { ok: code === 0, output };
}

async function inputsOf(name: Name): Promise<Uint8Array[]> {
  const folder = new URL(`${name}/`, CORPUS);
  const found = await readdir(folder).catch(() => []);
  return [...seeds()[name], ...await Promise.all(found.sort().map((file) => readFile(new URL(file, folder))))];
}

/** Builds the targets into one file that Node reads, and gives the Node to read it with. */
async function prepare(): Promise<string> {
  await mkdir(FOLDER, { recursive: true });
  await writeFile(join(FOLDER, "package.json"), JSON.stringify({ dependencies: { "@jazzer.js/core": FUZZER } }));
  await runProgram(deno.path, ["install", "--quiet"], true);
  const { bun, node } = await installRuntimes();
  const source = fileURLToPath(new URL("targets.ts", import.meta.url));
  const built = await runProgram(bun.path, ["build", "--target=node", "--outfile=targets.mjs", source], false);
  if (!built.ok) throw new Error(built.output);
  return values.node ?? node.path;
}

/** Whether no promise was broken; `undefined` if this machine cannot load the addon. */
async function guided(node: string, name: Name): Promise<boolean | undefined> {
  const corpus = join(FOLDER, name);
  await rm(corpus, { recursive: true, force: true });
  await mkdir(corpus, { recursive: true });
  for (const [index, input] of (await inputsOf(name)).entries()) await writeFile(join(corpus, `seed-${index}`), input);
  const { ok, output } = await runProgram(node, [
    "node_modules/@jazzer.js/core/dist/cli.js",
    "targets.mjs",
    ...[corpus, "-f", name, "-i", "targets.mjs", "--disableBugDetectors", ".*"],
    ...(name === "acceptor" ? [] : ["--sync"]),
    "--",
    ...[`-max_total_time=${seconds}`, `-seed=${seed}`, `-max_len=${MAX_INPUT_BYTES}`, `-artifact_prefix=${name}-`],
  ], true);
  if (output.includes("ERR_DLOPEN_FAILED")) return undefined;
  const [, runsDone = "0"] = /Done (\d+) runs/.exec(output) ?? [];
  const [, edges = "?", features = "?"] = [...output.matchAll(/cov: (\d+) ft: (\d+)/g)].at(-1) ?? [];
  console.log(`${name}: ${runsDone} runs, ${edges} edges, ${features} features, ${ok ? "nothing found" : "FOUND"}`);
  return ok;
}

async function random(name: Name): Promise<boolean> {
  const inputs = mutated(await inputsOf(name));
  const target = targets[name];
  let slowestMs = 0;
  const timed = (body: () => unknown) => {
    const start = performance.now();
    body();
    slowestMs = Math.max(slowestMs, performance.now() - start);
  };
  const property: fc.IRawProperty<[Uint8Array]> = name === "acceptor"
    ? fc.asyncProperty(inputs, async (input) => await target(input))
    : fc.property(inputs, (input) => timed(() => target(input)));
  const before = process.memoryUsage().rss;
  const { failed, numRuns, counterexample } = await fc.check(property, {
    seed,
    numRuns: runs,
    interruptAfterTimeLimit: seconds * 1000,
  });
  const growth = Math.round((process.memoryUsage().rss - before) / 2 ** 20);
  const [input] = counterexample ?? [];
  if (input) {
    await mkdir(FOLDER, { recursive: true });
    await writeFile(join(FOLDER, `${name}-found`), input);
    await Promise.resolve().then(() => target(input)).catch(console.error);
  }
  // fast-check calls a run failed also if the time ended it before its first input.
  const verdict = failed && input ? "FOUND" : "nothing found";
  const cost = `the slowest took ${slowestMs.toFixed(0)} ms, memory grew by ${growth} MiB`;
  console.log(`${name}: ${numRuns} runs, not guided, ${cost}, ${verdict}`);
  return !input;
}

const names = Object.keys(targets).filter((name) => positionals.length === 0 || positionals.includes(name)) as Name[];
if (names.length === 0) throw new Error(`the targets are ${Object.keys(targets).join(", ")}`);
const node = values.engine === "jazzer" ? await prepare() : undefined;
let isSound = true;
for (const name of names) {
  const found = node === undefined ? undefined : await guided(node, name);
  if (found === undefined && node !== undefined) {
    console.log("the addon of Jazzer.js does not load here (it needs glibc 2.38): not guided by coverage");
  }
  isSound = (found ?? await random(name)) && isSound;
}
await closeAcceptor();
process.exitCode = isSound ? 0 : 1;
