// Swaps the certificate of an HTTPS server every 50 ms under load, and counts what breaks:
//   deno task demo [--server acceptor|https|deno-listen|deno-serve|bun-serve] [--runtime deno|bun|node] [--seconds 5]
import process from "node:process";
import { parseArgs } from "node:util";
import { deno, installRuntimes, type Runtime } from "./support/runtimes.ts";
import { rotate, type RotationReport } from "./support/rotation.ts";

const { values } = parseArgs({
  options: {
    server: { type: "string", default: "acceptor" },
    runtime: { type: "string" },
    seconds: { type: "string", default: "5" },
  },
});
const { server, runtime: runtimeName = server === "bun-serve" ? "bun" : "deno" } = values;
const runtimes: Record<string, () => Promise<Runtime>> = {
  deno: () => Promise.resolve(deno),
  bun: async () => (await installRuntimes()).bun,
  node: async () => (await installRuntimes()).node,
};
const choose = runtimes[runtimeName];
if (!choose) throw new Error(`Cannot run demo: '--runtime' must be deno, bun or node: ${runtimeName}`);
const runtime = await choose();

const total = ({ connections }: RotationReport) => connections[0] + connections[1];
const brief = (report: RotationReport) =>
  `${total(report)} connections, ${report.swaps} swaps, ${report.failures.length} failed, ${report.stale} stale`;

console.log(
  `HTTPS (${server}) on ${runtime.name}: 16 clients connect anew, 4 stay, the certificate changes every 50 ms`,
);
const report = await rotate({
  command: [runtime.path, ...runtime.runArgs],
  server,
  seconds: Number(values.seconds),
  onProgress: (report) => process.stdout.write(`\r${brief(report)} `),
});
process.stdout.write("\r\x1b[K");

const rows = [
  ["connections served the first certificate", report.connections[0]],
  ["connections served the second certificate", report.connections[1]],
  ["swaps", report.swaps],
  ["failed", report.failures.length],
  ["stale: begun after a swap, served the certificate from before", report.stale],
  ["long-lived connections alive, every byte right", `${report.alive} of ${report.longLived}`],
  ["exchanges on them", report.exchanges],
] as const;
for (const [what, count] of rows) console.log(`${what.padEnd(64)} ${String(count).padStart(8)}`);
for (const failure of report.failures.slice(0, 10)) console.error(failure);

const isGood = report.failures.length === 0 && report.stale === 0 && report.alive === report.longLived &&
  Math.min(...report.connections) > 0;
process.exitCode = isGood ? 0 : 1;
