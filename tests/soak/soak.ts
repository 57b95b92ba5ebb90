// Soaks every kind of server on every runtime at once, with everything that can happen to one, and stops a runtime at
// the first invariant that does not hold:
//   deno task soak [--minutes 30] [--seed N] [--resume FOLDER] [--runtime deno|bun|node|all] [--clients 12]
// A seed brings the same choices back, though not their timing. The folder gets soak.json and soak.svg; with --resume a
// soak goes on where it was, and `--minutes` is the whole time.
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { deno, installRuntimes, type Runtime } from "../support/runtimes.ts";
import type { DriverOptions, DriverReport } from "./driver.ts";
import { pictureOf } from "./picture.ts";
import { SoakRecord } from "./record.ts";

const DRIVER = fileURLToPath(new URL("driver.ts", import.meta.url));
const TELL_EVERY_MS = 10_000;
const MINUTE_MS = 60_000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    seed: { type: "string", default: String(randomInt(2 ** 31)) },
    resume: { type: "string" },
    runtime: { type: "string", default: "all" },
    clients: { type: "string", default: "12" },
  },
});
const { bun, node } = await installRuntimes();
const runtimes: Readonly<Record<string, Runtime>> = { deno, bun, node };
const GC_ARGS: Readonly<Record<string, readonly string[]>> = {
  deno: ["--v8-flags=--expose-gc"],
  node: ["--expose-gc"],
};
/** What a runtime itself does not survive. */
const SKIPS: Readonly<Record<string, DriverOptions["skips"]>> = {
  deno: {
    "few descriptors": "Deno 2.9.6 panics in `stacker` when a thread finds no descriptor",
  },
};
const names = values.runtime === "all" ? Object.keys(runtimes) : [values.runtime];
if (!names.every((name) => name in runtimes)) {
  throw new Error(`Cannot run soak: '--runtime' must be deno, bun, node or all: ${values.runtime}`);
}

const folder = values.resume ?? join(tmpdir(), `tls-reload-soak-${values.seed}`);
const file = join(folder, "soak.json");
const record = values.resume ? await SoakRecord.resume(file) : await SoakRecord.begin(file, values.seed);
const minutes = Number(values.minutes ?? record.minutes ?? 30);
record.minutes = minutes;
const fromMs = record.elapsedMs;
const drivers: ChildProcess[] = [];

/** Runs the driver of one runtime to its end. */
async function soak(name: string): Promise<void> {
  const { path, runArgs } = runtimes[name]!;
  const options: DriverOptions = {
    command: [path, ...runArgs, ...GC_ARGS[name] ?? []],
    fromMs,
    toMs: minutes * MINUTE_MS,
    seed: record.seed,
    clients: Number(values.clients),
    skips: SKIPS[name] ?? {},
  };
  const args = [...node.runArgs, DRIVER, JSON.stringify(options)];
  const driver = spawn(node.path, args, { stdio: ["ignore", "pipe", "inherit"] });
  drivers.push(driver);
  const { promise: closed, resolve } = Promise.withResolvers<number | null>();
  driver.once("close", resolve);
  for await (const line of createInterface({ input: driver.stdout })) {
    const report = JSON.parse(line) as DriverReport;
    record.add(name, runtimes[name]!.name, report);
    for (const skipped of report.skipped) console.log(`${name}: left out, ${skipped}`);
    if (report.violation) console.error(`\n${runtimes[name]!.name}: VIOLATION, ${report.violation}\n`);
  }
  const code = await closed;
  if (code !== 0 && !isInterrupted) record.fail(name, `the driver has ended: ${code}`);
}

let isInterrupted = false;
/** Ends the drivers, whose own children end with them, and keeps the record. */
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    isInterrupted = true;
    for (const driver of drivers) driver.kill("SIGTERM");
  });
}

async function tell(end: AbortSignal): Promise<void> {
  while (!end.aborted) {
    await delay(TELL_EVERY_MS, undefined, { signal: end }).catch(() => {});
    console.log(record.line());
    await record.save();
  }
}

console.log(`soaking ${names.join(", ")} up to minute ${minutes}, seed ${record.seed}, ${folder}`);
const end = new AbortController();
const telling = tell(end.signal);
await Promise.all(names.map(soak));
end.abort();
await telling;
const picture = join(folder, "soak.svg");
await writeFile(picture, pictureOf(record));
console.log(`\n${record.table()}\n\n${picture}`);
const { violations } = record;
for (const violation of violations) console.log(`VIOLATION ${violation.split("\n")[0]}`);
if (isInterrupted) console.log(`interrupted; go on with --resume ${folder}`);
else if (violations.length === 0) console.log(`no violation, seed ${record.seed}`);
process.exit(isInterrupted || violations.length > 0 ? 1 : 0);
