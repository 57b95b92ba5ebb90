// Runs every test on Deno, Bun and two versions of Node: deno task test [name of a test file …]
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { deno, installRuntimes, type Runtime } from "./support/runtimes.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STAND_INS = ["--import-map", "tests/std/import_map.json"];
/** How each runner states its counts. */
const COUNTS = {
  passed: [/(\d+) passed/, /^\s*(\d+) pass$/m, /^# pass (\d+)$/m],
  failed: [/(\d+) failed/, /^\s*(\d+) fail$/m, /^# fail (\d+)$/m],
  skipped: [/(\d+) ignored/, /^\s*(\d+) skip$/m, /^# skipped (\d+)$/m],
};

async function runs(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => output += text);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { ok: code === 0, output };
}

async function test(runtime: Runtime, extraArgs: readonly string[]) {
  const args = [...runtime.testArgs, ...extraArgs];
  const { ok, output } = await runs(runtime.path, args, { TLS_RELOAD_RUNTIME: runtime.name });
  const count = (patterns: readonly RegExp[]) =>
    Number(patterns.map((each) => each.exec(output)?.[1]).find(Boolean) ?? 0);
  const [passed, failed, skipped] = [count(COUNTS.passed), count(COUNTS.failed), count(COUNTS.skipped)];
  // A runner that dies, or that finds nothing to run, has failed whatever it counted.
  const broken = failed === 0 && (!ok || passed === 0) ? 1 : 0;
  if (!ok || broken) console.log(output);
  console.log(`${runtime.name.padEnd(14)} ${passed} passed, ${failed + broken} failed, ${skipped} skipped`);
  return { passed, failed: failed + broken, skipped };
}

const wanted = process.argv.slice(2);
const files = (await readdir(new URL(".", import.meta.url), { recursive: true }))
  .filter((file) => file.endsWith("_test.ts") && (wanted.length === 0 || wanted.some((name) => file.includes(name))))
  .map((file) => `tests/${file}`).sort();

const canReachJsr = (await runs(deno.path, ["cache", "--quiet", "jsr:@std/assert@^1"])).ok;
const mapArgs = canReachJsr ? [] : STAND_INS;
if (!canReachJsr) console.log("JSR cannot be reached: local stand-ins serve for @std/assert, @std/fs and @std/path");

// The first Deno run also fills node_modules, which Bun and Node resolve from.
const results = [await test(deno, [...mapArgs, ...files])];
if (wanted.length === 0) {
  results.push(await test({ ...deno, name: "deno (docs)" }, [...mapArgs, "--doc", "mod.ts", "src", "README.md"]));
}
const { bun, node22, node } = await installRuntimes();
const paths = files.map((file) => `./${file}`);
for (const runtime of [bun, node22, node]) results.push(await test(runtime, paths));

const total = (key: "passed" | "failed" | "skipped") => results.reduce((sum, result) => sum + result[key], 0);
if (total("skipped") > 0) console.log(`${total("skipped")} skipped`);
console.log(`${total("passed")} passed, ${total("failed")} failed`);
process.exitCode = total("failed") === 0 ? 0 : 1;
