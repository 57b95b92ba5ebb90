// Runs every test on Deno, Bun and two versions of Node: deno task test [name of a test file …]
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { issueServer } from "./support/certificates.ts";
import { deno, installRuntimes, type Runtime } from "./support/runtimes.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STAND_INS = ["--import-map", join(ROOT, "tests/std/import_map.json")];
/** A run that takes longer than this hangs, and has failed. */
const RUN_TIMEOUT_MS = 1_200_000;
const GRACE_MS = 10_000;
/** Who drops what is sent to JSR answers no sooner. */
const JSR_TIMEOUT_MS = 60_000;
/** How each runner states its counts. */
const COUNTS = {
  passed: [/^\w+ \| (\d+) passed/m, /^\s*(\d+) pass$/m, /^# pass (\d+)$/m],
  failed: [/^\w+ \| .* (\d+) failed/m, /^\s*(\d+) fail$/m, /^# fail (\d+)$/m],
  skipped: [/^\w+ \| .* (\d+) ignored/m, /^\s*(\d+) skip$/m, /^# skipped (\d+)$/m],
};
/** What each runner says of a test that did not fail: among hundreds of these no failure is found. */
const PASSES = [
  /^.* \.\.\. (?:ok|ignored) \(.*\)\n/gm,
  /^\((?:pass|skip)\) .*\n/gm,
  /^# Subtest: .*\n(?:ok .*\n {2}---\n(?: {2}.*\n)*? {2}\.\.\.\n)?/gm,
];

interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface RunOptions {
  readonly cwd?: string;
  readonly runtime?: string;
  readonly timeoutMs?: number;
}

/** Ends the run that is under way, with all that it has started and what that would leave behind. */
let endRun = () => {};

async function runs(command: string, args: readonly string[], options: RunOptions = {}) {
  const { cwd = ROOT, runtime = "", timeoutMs = RUN_TIMEOUT_MS } = options;
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, NO_COLOR: "1", TLS_RELOAD_RUNTIME: runtime },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true, // as the leader of a group of its own
  });
  endRun = () => {
    try {
      process.kill(-child.pid!, "SIGKILL");
    } catch {
      // Nobody of the group is left.
    }
  };
  let output = "";
  let hangs = false;
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => output += text);
  const timers = [
    setTimeout(() => hangs = child.kill(), timeoutMs), // Node says on its way out what it was running
    setTimeout(endRun, timeoutMs + GRACE_MS),
  ];
  child.once("exit", endRun);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  timers.forEach(clearTimeout);
  return { ok: code === 0, hangs, output };
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    endRun();
    process.exit(1);
  });
}

async function test(runtime: Runtime, extraArgs: readonly string[], cwd?: string): Promise<Result> {
  const args = [...runtime.testArgs, ...extraArgs];
  const { ok, hangs, output } = await runs(runtime.path, args, { runtime: runtime.name, ...(cwd && { cwd }) });
  const count = (patterns: readonly RegExp[]) =>
    Number(patterns.map((each) => each.exec(output)?.[1]).find(Boolean) ?? 0);
  const [passed, failed, skipped] = [count(COUNTS.passed), count(COUNTS.failed), count(COUNTS.skipped)];
  // A runner that dies, or that finds nothing to run, has failed whatever it counted.
  const broken = failed === 0 && (!ok || passed === 0) ? 1 : 0;
  // Where it hangs, what has passed last tells.
  if (hangs) console.log(`${output}\nended after ${RUN_TIMEOUT_MS / 1000} s`);
  else if (!ok || broken) console.log(PASSES.reduce((text, passes) => text.replace(passes, ""), output));
  console.log(`${runtime.name.padEnd(14)} ${passed} passed, ${failed + broken} failed, ${skipped} skipped`);
  return { passed, failed: failed + broken, skipped };
}

/** Runs the examples of the documentation where the files are that they read. */
async function testDocs(): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const issued = await issueServer("localhost");
  await writeFile(join(folder, "fullchain.pem"), issued.cert);
  await writeFile(join(folder, "privkey.pem"), issued.key, { mode: 0o600 });
  await writeFile(join(folder, "clients-ca.pem"), issued.cert);
  const places = ["mod.ts", "src", "README.md", "MIGRATING.md"].map((place) => join(ROOT, place));
  // Never the published module: the examples import it by its name on JSR.
  const args = ["--doc", "--config", join(ROOT, "deno.json"), ...STAND_INS, ...places];
  const result = await test({ ...deno, name: "deno (docs)" }, args, folder);
  await rm(folder, { recursive: true });
  return result;
}

async function canReachJsr(): Promise<boolean> {
  const { imports } = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
  const needed = Object.values<string>(imports).filter((specifier) => specifier.startsWith("jsr:"));
  return (await runs(deno.path, ["cache", "--quiet", ...needed], { timeoutMs: JSR_TIMEOUT_MS })).ok;
}

/** Runs the files whose paths contain one of these names, or all of them. */
async function testAll(wanted: readonly string[], results: Result[]): Promise<void> {
  const files = (await readdir(new URL(".", import.meta.url), { recursive: true }))
    .map((file) => `tests/${file}`)
    .filter((file) => file.endsWith("_test.ts") && (wanted.length === 0 || wanted.some((name) => file.includes(name))))
    .sort();
  if (files.length === 0) throw new Error(`Cannot find a test file by its name: ${wanted.join(", ")}`);

  const hasJsr = await canReachJsr();
  if (!hasJsr) console.log("JSR cannot be reached: local stand-ins serve for @std/assert, @std/fs and @std/path");

  // The first Deno run also fills node_modules, which Bun and Node resolve from.
  const onDeno = await test(deno, [...(hasJsr ? [] : STAND_INS), ...files]);
  results.push(onDeno);
  const { bun, node22, node } = await installRuntimes();
  const paths = files.map((file) => `./${file}`);
  results.push(await test(bun, paths));
  const onNode = [await test(node22, paths), await test(node, paths)];
  results.push(...onNode);
  if (wanted.length === 0) results.push(await testDocs());

  // Deno passes over what is thrown while a file of node:test is loaded, and the tests after it vanish. Bun has fewer
  // tests by design, as some servers cannot be attached to there.
  const count = ({ passed, failed, skipped }: Result) => passed + failed + skipped;
  if (onNode.some((result) => count(result) !== count(onDeno))) throw new Error("Deno and Node ran different tests");
}

const results: Result[] = [];
await testAll(process.argv.slice(2), results).catch((error) => {
  console.log(error);
  results.push({ passed: 0, failed: 1, skipped: 0 });
});
const sum = (key: keyof Result) => results.reduce((total, result) => total + result[key], 0);
if (sum("skipped") > 0) console.log(`${sum("skipped")} skipped: each names its reason in its file`);
console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
process.exitCode = sum("failed") === 0 ? 0 : 1;
