// The pages that show what was measured: bench/results/README.md with its charts, and what stands in README.md between
// <!-- measured --> and <!-- /measured -->. All of it comes from the JSON in bench/results.
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PARTS } from "../parts.ts";
import { toSvg } from "./chart.ts";
import { chartOf, type Table, toMarkdown } from "./report.ts";
import { type PartResult, readResults, sharedNotes } from "./results.ts";
import { summarize } from "./summary.ts";

const ROOT = new URL("../../", import.meta.url);
const README = "README.md";
const REPORT = "bench/results/README.md";
export const BLOCK = /(?<=<!-- measured -->\n)[^]*(?=<!-- \/measured -->)/;

export const RESULTS: string = fileURLToPath(new URL("bench/results/", ROOT));

/** What each page and chart must hold, by its path from the root of this repository. */
export async function pagesOf(results: ReadonlyMap<string, PartResult>): Promise<ReadonlyMap<string, string>> {
  const pages = new Map([[REPORT, toReport(results)]]);
  for (const { tables } of results.values()) {
    for (const table of tables) {
      const chart = chartOf(table);
      if (chart) pages.set(`bench/results/${chart}`, table.picture ?? toSvg(table));
    }
  }
  const readme = await readFile(new URL(README, ROOT), "utf8");
  return pages.set(README, readme.replace(BLOCK, () => `\n${summarize(results)}\n\n`));
}

export async function writePages(): Promise<void> {
  const pages = await pagesOf(await readResults(RESULTS));
  for (const [path, content] of pages) await writeFile(new URL(path, ROOT), content);
  const format = ["fmt", "--quiet", "bench/results", README];
  await promisify(execFile)(process.execPath, format, { cwd: fileURLToPath(ROOT) });
}

function toReport(results: ReadonlyMap<string, PartResult>): string {
  const parts = Object.keys(PARTS).flatMap((part) => results.get(part) ?? []);
  const runs = parts.map(({ part, command, date, rounds, loadSeconds, seconds }) =>
    `| [${part}](${part}.json) | \`${command}\` | ${date} | ${rounds} × ${loadSeconds} s | ${seconds} s |\n`
  );
  const systems = Map.groupBy(parts, ({ system, versions }) => `${system}: ${versions.join(", ")}`);
  const machines = [...systems].map(([system, parts]) =>
    systems.size === 1 ? `- ${system}` : `- ${parts.map(({ part }) => part).join(", ")}: ${system}`
  );
  const shared = sharedNotes(parts);
  return `# Measured

Written by [the bench](../../docs/bench.md). Each figure is the median of its rounds, in which everything that a table
holds is measured in turn; in brackets the least and the most. **×** is the median of the ratios within each round.
Servers and clients share the cores. Ours are bold.

| part | command | date | rounds | took |
| --- | --- | --- | --- | --- |
${runs.join("")}
${machines.join("\n")}
${shared.map((note) => `\n${note}\n`).join("")}
${parts.map((part) => sectionOf(part, shared)).join("\n")}`;
}

function sectionOf({ tables, notes: all }: PartResult, shared: readonly string[]): string {
  const notes = all.filter((note) => !shared.includes(note));
  const noted = notes.length > 0 ? `\nNoted:\n\n${notes.map((note) => `- ${note}`).join("\n")}\n` : "";
  return tables.map(withChart).join("\n") + noted;
}

function withChart(table: Table): string {
  const chart = chartOf(table);
  return toMarkdown(table) + (chart ? `\n![${table.title}](${chart})\n` : "");
}
