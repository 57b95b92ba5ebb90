// Soaks every kind of server on every runtime at once, with everything that can happen to one, and stops a runtime at
// the first invariant that does not hold:
//   deno task soak --minutes 30 [--seed N] [--runtime deno|bun|node|all] [--exhaust-descriptors bun,node]
// A seed brings the same choices back, though not their timing.
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { deno, installRuntimes, type Runtime } from "../support/runtimes.ts";
import type { DriverOptions, DriverReport, Summary } from "./driver.ts";

const DRIVER = fileURLToPath(new URL("driver.ts", import.meta.url));
const PROGRESS_EVERY_MS = 60_000;
const MIB = 1 << 20;

const { values } = parseArgs({
  options: {
    "minutes": { type: "string", default: "30" },
    "seed": { type: "string", default: String(randomInt(2 ** 31)) },
    "runtime": { type: "string", default: "all" },
    "exhaust-descriptors": { type: "string", default: "bun,node" },
  },
});
const { bun, node } = await installRuntimes();
const runtimes: Readonly<Record<string, Runtime>> = { deno, bun, node };
const GC_ARGS: Readonly<Record<string, readonly string[]>> = {
  deno: ["--v8-flags=--expose-gc"],
  node: ["--expose-gc"],
};
const names = values.runtime === "all" ? Object.keys(runtimes) : [values.runtime];
if (!names.every((name) => name in runtimes)) {
  throw new Error(`Cannot run soak: '--runtime' must be deno, bun, node or all: ${values.runtime}`);
}

/** Runs the driver of one runtime to its end. */
async function soak(name: string): Promise<Summary | undefined> {
  const { path, runArgs } = runtimes[name]!;
  const options: DriverOptions = {
    command: [path, ...runArgs, ...GC_ARGS[name] ?? []],
    minutes: Number(values.minutes),
    seed: values.seed,
    exhaustsDescriptors: values["exhaust-descriptors"].split(",").includes(name),
  };
  const args = [...node.runArgs, DRIVER, JSON.stringify(options)];
  const driver = spawn(node.path, args, { stdio: ["ignore", "pipe", "inherit"] });
  let summary: Summary | undefined;
  let told = performance.now();
  for await (const line of createInterface({ input: driver.stdout })) {
    const report = JSON.parse(line) as DriverReport;
    if ("summary" in report) summary = report.summary;
    else if ("violation" in report) console.error(`\n${runtimes[name]!.name}: VIOLATION, ${report.violation}\n`);
    else if (performance.now() - told > PROGRESS_EVERY_MS) {
      told = performance.now();
      const { requests, swaps, heapBytes, descriptors } = report.progress;
      console.log(
        `${name.padEnd(5)} ${requests} requests, ${swaps} swaps, ${descriptors} descriptors, ` +
          `${Math.round(heapBytes! / MIB)} MiB heap`,
      );
    }
  }
  return summary;
}

function table(summaries: Readonly<Record<string, Summary>>): string {
  const columns = Object.keys(summaries);
  const rows = new Map<string, (string | number)[]>();
  const row = (name: string, cell: (summary: Summary) => string | number | undefined) =>
    rows.set(name, columns.map((column) => cell(summaries[column]!) ?? ""));
  const mib = (bytes: number) => (bytes / MIB).toFixed(1);
  for (const name of new Set(Object.values(summaries).flatMap(({ counts }) => Object.keys(counts)).sort())) {
    row(name, ({ counts }) => counts[name]);
  }
  const most = (key: "descriptors" | "generations" | "rssBytes") => ({ samples }: Summary) =>
    Math.max(...samples.map((sample) => sample[key]));
  row("file descriptors, at most", most("descriptors"));
  row(
    "file descriptors, at the start and at the end",
    ({ samples }) => `${samples[0]!.descriptors} / ${samples.at(-1)!.descriptors}`,
  );
  row("generations of a front, at most", most("generations"));
  row(
    "heap and external, MiB, at the start and at the end",
    ({ samples }) => `${mib(samples[0]!.heapBytes)} / ${mib(samples.at(-1)!.heapBytes)}`,
  );
  row("resident, MiB, at the start, at most and at the end", (summary) => {
    const { samples } = summary;
    return `${mib(samples[0]!.rssBytes)} / ${mib(most("rssBytes")(summary))} / ${mib(samples.at(-1)!.rssBytes)}`;
  });
  row(
    "processor seconds, server and driver",
    ({ serverCpuSeconds, driverCpuSeconds }) => `${Math.round(serverCpuSeconds)} / ${Math.round(driverCpuSeconds)}`,
  );
  const lines = [["", ...columns.map((column) => runtimes[column]!.name)], ["---", ...columns.map(() => "---:")]];
  for (const [name, cells] of rows) lines.push([name, ...cells.map(String)]);
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

console.log(`soaking ${names.join(", ")} for ${values.minutes} minutes, seed ${values.seed}`);
const results = await Promise.all(names.map(async (name) => [name, await soak(name)] as const));
const good = results.flatMap(([name, summary]) => summary ? [[name, summary] as const] : []);
if (good.length > 0) console.log(table(Object.fromEntries(good)));
const bad = results.filter(([, summary]) => !summary).map(([name]) => name);
console.log(bad.length > 0 ? `violations: ${bad.join(", ")}` : `no violation, seed ${values.seed}`);
process.exit(bad.length > 0 ? 1 : 0);
