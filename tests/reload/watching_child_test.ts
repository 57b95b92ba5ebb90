import { assert, assertEquals, assertMatch } from "@std/assert";
import { execFile, spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { BY_EVENTS, BY_POLLING } from "./rotating_files.ts";

const [first, second] = await Promise.all([issueServer("first"), issueServer("second")]);
const has = (...command: [string, ...string[]]) => spawnSync(command[0], command.slice(1)).status === 0;
/** Why the tests that need a system of their own are skipped where they are. */
const NO_NAMESPACES = !has("unshare", "-Urm", "true") && "unshare(1) gives no user and mount namespace here";
const NO_LIMITS = process.platform === "win32" && "Windows has neither ulimit nor file modes";
const NO_INOTIFY = process.platform !== "linux" && "the system does not tell who watches what";
/** Far less than 8,640 looks would leave behind if each left a timer or a promise, and more than a runtime's caches. */
const MAX_GROWN_BYTES = 4_000_000;

const CHILD = fileURLToPath(new URL("watching_child.ts", import.meta.url));
const IMPORT_MAP = fileURLToPath(new URL("../std/import_map.json", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** All that Deno may permit but reading. */
const DENO_REST = ["--no-prompt", "--allow-write", "--allow-net", "--allow-env", "--allow-sys"];
const { deno, bun } = process.versions;
const RUN_ARGS = deno
  ? ["run", "-A", "--no-config", "--import-map", IMPORT_MAP, "--v8-flags=--expose-gc"]
  : bun
  ? []
  : ["--expose-gc"];

interface ChildOptions {
  /** What stands before the program. */
  readonly prefix?: readonly string[];
  readonly watch?: object;
  /** What Deno may read, beside the program: everything by default. */
  readonly reads?: "files" | "folder";
}

/** Runs a script of the child on the runtime of this test, and gives what it prints, line by line. */
function runChild(script: string, { prefix = [], watch = {}, reads }: ChildOptions = {}) {
  return withFiles(async (files) => {
    for (const [directory, { cert, key }] of [["certs", first], ["next", second]] as const) {
      await mkdir(files.path(directory));
      await files.write(`${directory}/tls.crt`, cert);
      await files.write(`${directory}/tls.key`, key);
    }
    const paths = ["certs/tls.crt", "certs/tls.key", "next/tls.crt", "next/tls.key"].map(files.path);
    const readable = [...(reads === "files" ? paths : [files.path("certs"), files.path("next")]), ROOT].join();
    const runArgs = reads
      ? [...RUN_ARGS.filter((arg) => arg !== "-A"), `--allow-read=${readable}`, ...DENO_REST]
      : RUN_ARGS;
    const args = [process.execPath, ...runArgs, CHILD, script, ...paths, JSON.stringify(watch)];
    const [command = "", ...rest] = [...prefix, ...args];
    const { stdout } = await promisify(execFile)(command, rest, { timeout: 300_000 });
    const lines = stdout.trim().split("\n");
    assertEquals(lines.pop(), "leaving");
    return lines.map((line) => JSON.parse(line));
  });
}

test("Reloader does not keep a process alive by triggers or timers", async () => {
  assertEquals(await runChild("leave"), []);
});

for (
  const [limit, fix] of [["max_inotify_watches", /max_user_watches=/], [
    "max_inotify_instances",
    /max_user_instances=/,
  ]] as const
) {
  test(`Reloader.watch() polls, and names the fix, where ${limit} is 0`, { skip: NO_NAMESPACES }, async () => {
    const prefix = ["unshare", "-Ur", "sh", "-c", `echo 0 > /proc/sys/user/${limit}; exec "$@"`, "sh"];
    const [rotated] = await runChild("rotate", { prefix });
    assertEquals([rotated.isDegraded, rotated.fingerprint256], [true, second.fingerprint256]);
    assertMatch(rotated.degraded, /^Cannot watch ".*certs": the limit of inotify /);
    assertMatch(rotated.degraded, fix);
  });
}

test("Reloader.watch() reports that a file which is mounted alone never changes, once the host replaced it", {
  skip: NO_NAMESPACES,
}, async () => {
  const [mounted, replaced] = await runChild("bind", { prefix: ["unshare", "-Urm"] });
  assertEquals([mounted.fingerprint256, mounted.isDegraded], [second.fingerprint256, false]);
  assertMatch(replaced.degraded, /^Cannot see changes of ".*tls\.crt": .* single file, .*; mount the folder instead$/);
});

test("Reloader.watch() reports that events are missing where the poll found a change without one", {
  skip: NO_NAMESPACES,
}, async () => {
  const [watched, silent, reported] = await runChild("silence", { prefix: ["unshare", "-Urm"] });
  assertEquals([watched.isDegraded, silent.fingerprint256], [false, second.fingerprint256]);
  assertMatch(silent.degraded, /^Cannot see changes of ".*tls\.crt", ".*tls\.key" at once: the system reported none /);
  assertEquals(reported.isDegraded, false);
});

test("Reloader.watch() polls, and names the permission, where the folder of the files may not be read", {
  skip: NO_LIMITS,
}, async () => {
  const [rotated, shown] = await runChild("hide");
  assertEquals(rotated.fingerprint256, second.fingerprint256);
  assertMatch(rotated.degraded, /^Cannot watch ".*certs": the process needs permission to read and search the folder$/);
  assertEquals(shown.isDegraded, false);
});

test("Reloader.watch() polls, and names the permission, where Deno may read the files but not their folder", {
  skip: !deno && "only Deno has permissions",
}, async () => {
  const [rotated] = await runChild("rotate", { reads: "files" });
  assertEquals([rotated.fingerprint256, rotated.isDegraded], [second.fingerprint256, true]);
  assertMatch(rotated.degraded, /^Cannot watch ".*certs": Deno needs --allow-read=\S*certs$/);
});

test("Reloader.watch() works by events where Deno may read the folder of the files, and none above it", {
  skip: !deno && "only Deno has permissions",
}, async () => {
  const [rotated] = await runChild("rotate", { reads: "folder", watch: BY_EVENTS });
  assertEquals([rotated.fingerprint256, rotated.isDegraded], [second.fingerprint256, false]);
});

test("Reloader.watch() continues after the limit of open files was reached", { skip: NO_LIMITS }, async () => {
  const steps = await runChild("starve", { prefix: ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"] });
  assertEquals(steps.length, 2);
  for (const { step, fingerprint256, error, inSync, isDegraded } of steps) {
    assertEquals(step, "Cannot read FILE: the system says EMFILE");
    assertEquals([fingerprint256, error, inSync, isDegraded], [second.fingerprint256, null, true, false]);
  }
});

for (const [way, watch] of [["events", BY_EVENTS], ["polling", BY_POLLING]] as const) {
  test(`Reloader.watch() by ${way}: permission lost and regained`, { skip: NO_LIMITS }, async () => {
    const steps = await runChild("forbid", { watch });
    const lost = { error: "Cannot read FILE: the system says EACCES", inSync: false, isDegraded: false };
    const taken = { error: null, inSync: true, isDegraded: false };
    assertEquals(steps, [
      ...[1, 2].flatMap(() => [
        { step: "lost", fingerprint256: first.fingerprint256, ...lost },
        { step: "regained", fingerprint256: first.fingerprint256, ...taken },
      ]),
      { step: "rotated", fingerprint256: second.fingerprint256, ...taken },
    ]);
  });
}

test("Reloader.watch() sees a volume mounted over the directory, and never a change of a subPath mount", {
  skip: NO_NAMESPACES,
}, async () => {
  const [subPath, volume] = await runChild("mount", { prefix: ["unshare", "-Urm"] });
  assertEquals([subPath.fingerprint256, subPath.inSync], [first.fingerprint256, true]);
  assertEquals([volume.fingerprint256, volume.inSync], [second.fingerprint256, true]);
});

test("Reloader.watch() holds no more memory after a day of reads than before it", { skip: NO_INOTIFY }, async () => {
  const [warm, after] = await runChild("hurry");
  assertEquals([after.watching, after.watches, after.descriptors], [1, 0, warm.descriptors]);
  assert(after.bytes - warm.bytes < MAX_GROWN_BYTES, `it grew from ${warm.bytes} to ${after.bytes} bytes`);
});
