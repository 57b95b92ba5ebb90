// Runs every test on Deno, Bun and two versions of Node: deno task test [name of a test file …]
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { issueServer } from "./support/certificates.ts";
import { deno, installRuntimes, type Runtime } from "./support/runtimes.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STAND_INS = ["--import-map", join(ROOT, "tests/std/import_map.json")];
/** A run that takes longer than this hangs, and has failed. */
const RUN_TIMEOUT_MS = 900_000;
/** How each runner states its counts. */
const COUNTS = {
  passed: [/(\d+) passed/, /^\s*(\d+) pass$/m, /^# pass (\d+)$/m],
  failed: [/(\d+) failed/, /^\s*(\d+) fail$/m, /^# fail (\d+)$/m],
  skipped: [/(\d+) ignored/, /^\s*(\d+) skip$/m, /^# skipped (\d+)$/m],
};

interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

async function runs(command: string, args: readonly string[], options: { cwd?: string; runtime?: string } = {}) {
  const { cwd = ROOT, runtime = "" } = options;
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, NO_COLOR: "1", TLS_RELOAD_RUNTIME: runtime },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: RUN_TIMEOUT_MS,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => output += text);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { ok: code === 0, output };
}

async function test(runtime: Runtime, extraArgs: readonly string[], cwd?: string): Promise<Result> {
  const args = [...runtime.testArgs, ...extraArgs];
  const { ok, output } = await runs(runtime.path, args, { runtime: runtime.name, ...(cwd && { cwd }) });
  const count = (patterns: readonly RegExp[]) =>
    Number(patterns.map((each) => each.exec(output)?.[1]).find(Boolean) ?? 0);
  const [passed, failed, skipped] = [count(COUNTS.passed), count(COUNTS.failed), count(COUNTS.skipped)];
  // A runner that dies, or that finds nothing to run, has failed whatever it counted.
  const broken = failed === 0 && (!ok || passed === 0) ? 1 : 0;
  if (!ok || broken) console.log(output);
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

const wanted = process.argv.slice(2);
const files = (await readdir(new URL(".", import.meta.url), { recursive: true }))
  .filter((file) => file.endsWith("_test.ts") && (wanted.length === 0 || wanted.some((name) => file.includes(name))))
  .map((file) => `tests/${file}`).sort();

const canReachJsr = (await runs(deno.path, ["cache", "--quiet", "jsr:@std/assert@^1"])).ok;
const mapArgs = canReachJsr ? [] : STAND_INS;
if (!canReachJsr) console.log("JSR cannot be reached: local stand-ins serve for @std/assert, @std/fs and @std/path");

// The first Deno run also fills node_modules, which Bun and Node resolve from.
const onDeno = await test(deno, [...mapArgs, ...files]);
const { bun, node22, node } = await installRuntimes();
const paths = files.map((file) => `./${file}`);
const onBun = await test(bun, paths);
const onNode = [await test(node22, paths), await test(node, paths)];
const results = [onDeno, onBun, ...onNode, ...(wanted.length === 0 ? [await testDocs()] : [])];

const sum = (key: keyof Result) => results.reduce((total, result) => total + result[key], 0);
// Deno passes over what is thrown while a file of node:test is loaded, and the tests after it vanish. Bun has fewer
// tests by design, as some servers cannot be attached to there.
const count = ({ passed, failed, skipped }: Result) => passed + failed + skipped;
const vanished = onNode.some((result) => count(result) !== count(onDeno)) ? 1 : 0;
if (vanished) console.log("Deno and Node did not run the same tests");
if (sum("skipped") > 0) console.log(`${sum("skipped")} skipped: each names its reason in its file`);
console.log(`${sum("passed")} passed, ${sum("failed") + vanished} failed`);
process.exitCode = sum("failed") + vanished === 0 ? 0 : 1;
