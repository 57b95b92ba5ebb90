// Runs the tests, each file in a process of its own, several at a time:
//   deno task test                         every test on Deno, Bun and two versions of Node
//   deno task test pem status              the files whose paths contain one of these words
//   deno task test --on bun --on node22 pem   only on these runtimes: deno, bun, node22, node24
//   deno task test --jobs 1                one file after another
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { issueServer } from "./support/certificates.ts";
import { deno, installRuntimes, type Runtime } from "./support/runtimes.ts";
import { type JobResult, killJobs, run, runJobs, type TestJob } from "./support/test_jobs.ts";
import { sumOf } from "./support/test_output.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STAND_INS = ["--import-map", join(ROOT, "tests/std/import_map.json")];
/** Load tests: they keep a core busy with clients and another one with a server. */
const HEAVY_FILES = [
  "tests/e2e/native_servers_test.ts",
  "tests/e2e/rotation_test.ts",
  "tests/native/handoff_process_test.ts",
];
/** Tests that wait for timers and other processes most of the time, so that two of them take the place of one. */
const WAITING_FILES = [
  "tests/accept/drain_test.ts",
  "tests/bun/serve_test.ts",
  "tests/e2e/acme_test.ts",
  "tests/e2e/hostile_peers_test.ts",
  "tests/native/handoff_generations_test.ts",
  "tests/reload/file_watch_test.ts",
  "tests/reload/follow_engines_test.ts",
  "tests/reload/follow_stand_ins_test.ts",
  "tests/reload/follow_test.ts",
  "tests/reload/pending_test.ts",
  "tests/reload/reloader_test.ts",
  "tests/x509/pem_source_test.ts",
];
/** The rooms whose files take longest are started first, so that no core idles at the end. */
const LONG_ROOMS = ["tests/e2e/", "tests/attach/", "tests/native/", "tests/reload/"];
/** A firewall that drops packets to JSR would make each attempt wait longer. */
const JSR_TIMEOUT_MS = 20_000;
/** Lets Node keep what it compiled, so that the next process starts in half the time. */
const COMPILE_CACHE = join(ROOT, ".runtimes/compile-cache");
const PREPARE_TIMEOUT_MS = 300_000;
const SLOWEST = 5;
const RUNTIMES = ["deno", "bun", "node22", "node24"] as const;

const { values, positionals: words } = parseArgs({
  allowPositionals: true,
  options: {
    on: { type: "string", multiple: true, default: [...RUNTIMES] },
    jobs: { type: "string", default: String(availableParallelism() + 1) },
  },
});
const slots = Number(values.jobs);
if (!Number.isInteger(slots) || slots < 1) {
  throw new TypeError(`Cannot test: '--jobs' must be a positive integer: ${values.jobs}`);
}
const unknown = values.on.find((name) => !RUNTIMES.some((each) => each === name));
if (unknown !== undefined) {
  throw new TypeError(`Cannot test: '--on' must be one of ${RUNTIMES.join(", ")}: ${unknown}`);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    killJobs();
    process.exit(1);
  });
}

async function canReachJsr(): Promise<boolean> {
  const { imports } = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
  const needed = Object.values<string>(imports).filter((specifier) => specifier.startsWith("jsr:"));
  const command = [deno.path, "cache", "--quiet", ...needed] as const;
  return (await run({ command: [...command], cwd: ROOT }, JSR_TIMEOUT_MS)).code === 0;
}

async function chosenRuntimes(): Promise<Record<string, Runtime>> {
  if (values.on.every((name) => name === "deno")) return { deno };
  const { bun, node22, node } = await installRuntimes();
  return { deno, bun, node22, node24: node };
}

async function chosenFiles(): Promise<string[]> {
  const files = (await readdir(join(ROOT, "tests"), { recursive: true }))
    .map((file) => `tests/${file.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith("_test.ts"))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort();
  if (files.length === 0) throw new Error(`Cannot find a test file by these words: ${words.join(", ")}`);
  const rank = (file: string) =>
    HEAVY_FILES.includes(file) ? 0 : LONG_ROOMS.some((room) => file.startsWith(room)) ? 1 : 2;
  return files.sort((a, b) => rank(a) - rank(b));
}

/** Checks the types of the tests once. It also fills `node_modules`, which Bun and Node resolve from. */
async function checkTypes(files: readonly string[], importMap: readonly string[]): Promise<void> {
  const command = [deno.path, "check", "--quiet", ...importMap, ...files, "bench", ...await examplesForDeno()] as const;
  const { code, output } = await run({ command: [...command], cwd: ROOT }, PREPARE_TIMEOUT_MS);
  if (code !== 0) throw new Error(`The types of the tests are wrong:\n${output}`);
}

/** Recipes for Node or Bun alone are compiled in `tests/types_test.ts`, with the types and options of their runtime. */
async function examplesForDeno(): Promise<string[]> {
  const files = await readdir(join(ROOT, "examples"), { recursive: true });
  return files.filter((file) => file.endsWith(".ts") && !/_(?:node|bun)\.ts$/.test(file)).map((file) =>
    join("examples", file)
  );
}

function weightOf(file: string): number {
  if (HEAVY_FILES.includes(file)) return 2;
  return WAITING_FILES.includes(file) ? 0.5 : 1;
}

/** The examples in the doc comments of the source, beside the files that they read. */
async function docJob(folder: string): Promise<TestJob> {
  const issued = await issueServer("localhost");
  await writeFile(join(folder, "fullchain.pem"), issued.cert);
  await writeFile(join(folder, "privkey.pem"), issued.key, { mode: 0o600 });
  await writeFile(join(folder, "clients-ca.pem"), issued.cert);
  // The stand-ins resolve `@x/tls-reload` to this source, never to a published version.
  const args = ["--doc", "--config", join(ROOT, "deno.json"), ...STAND_INS, join(ROOT, "mod.ts"), join(ROOT, "src")];
  return {
    name: "doc comments",
    group: `${deno.name} (docs)`,
    command: [deno.path, ...deno.testArgs, ...args],
    cwd: folder,
    weight: 1,
  };
}

/**
 * The files that have fewer tests on Deno than on Node: Deno ignores an error that a file throws while it loads. Files of
 * the native servers have more there.
 */
function uncountedTests(results: readonly JobResult[]): string[] {
  const total = ({ passed, failed, skipped }: JobResult) => passed + failed + skipped;
  const onDeno = new Map(results.filter(({ job }) => job.group === deno.name).map((each) => [each.job.name, each]));
  return results.filter(({ job, report }) => job.group.startsWith("node ") && report === "").flatMap((onNode) => {
    const expected = onDeno.get(onNode.job.name);
    if (!expected || expected.report !== "" || total(expected) >= total(onNode)) return [];
    return [`${onNode.job.name} has ${total(expected)} tests on Deno, but ${total(onNode)} on ${onNode.job.group}`];
  });
}

async function testAll(folder: string): Promise<{ results: JobResult[]; errors: string[] }> {
  const errors: string[] = [];
  const files = await chosenFiles();
  const hasJsr = await canReachJsr();
  if (!hasJsr) console.log("JSR cannot be reached: local stand-ins replace @std/assert, @std/fs and @std/path");
  const importMap = hasJsr ? [] : STAND_INS;
  const [runtimes] = await Promise.all([
    chosenRuntimes(),
    checkTypes(files, importMap).catch((error) => errors.push(error.message)),
  ]);
  const jobs: TestJob[] = files.flatMap((file) =>
    [...new Set(values.on)].map((id) => {
      const runtime = runtimes[id]!;
      const extraArgs = runtime === deno ? ["--no-check", ...importMap] : [];
      return {
        name: file,
        group: runtime.name,
        command: [runtime.path, ...runtime.testArgs, ...extraArgs, `./${file}`],
        cwd: ROOT,
        env: { TLS_RELOAD_RUNTIME: runtime.name, NODE_COMPILE_CACHE: COMPILE_CACHE },
        weight: weightOf(file),
      };
    })
  );
  if (words.length === 0 && runtimes["deno"] && values.on.includes("deno")) jobs.push(await docJob(folder));
  const results = await runJobs(jobs, slots, ({ report }) => report && console.log(report));
  return { results, errors: [...errors, ...uncountedTests(results)] };
}

const start = performance.now();
const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
const { results, errors } = await testAll(folder)
  .catch((error) => ({ results: [], errors: [String(error?.stack ?? error)] }))
  .finally(() => rm(folder, { recursive: true }));
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const groups = Map.groupBy(results, ({ job }) => job.group);
for (const [group, results] of [...groups].sort(([a], [b]) => a.localeCompare(b))) {
  const { passed, failed, skipped } = sumOf(results);
  const ms = results.reduce((sum, result) => sum + result.ms, 0);
  console.log(`${group.padEnd(18)} ${passed} passed, ${failed} failed, ${skipped} skipped, ${seconds(ms)}`);
}
const slowest = results.toSorted((a, b) => b.ms - a.ms).slice(0, SLOWEST);
for (const { job, ms } of slowest) console.log(`${seconds(ms).padStart(8)}  ${job.name} on ${job.group}`);
for (const error of errors) console.log(error);
const { passed, failed, skipped } = sumOf(results);
if (skipped > 0) console.log(`${skipped} skipped: each test file names the reason`);
console.log(`${seconds(performance.now() - start)} in all, ${slots} at a time`);
console.log(`${passed} passed, ${failed + errors.length} failed`);
process.exitCode = failed + errors.length === 0 ? 0 : 1;
