// The pages that show what was measured: bench/results/README.md with its charts, and what stands in other documents
// between <!-- measured: NAME --> and <!-- /measured -->. All of it comes from the JSON in bench/results.
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { toSvg } from "./chart.ts";
import { chartOf, type Table, toMarkdown } from "./report.ts";
import { type PartResult, readResults, sharedNotes } from "./results.ts";
import type { Results } from "./figures.ts";
import { summarizeChanges, summarizeRollOver } from "./fleet_summary.ts";
import { summarizeAll } from "./summary.ts";

const ROOT = new URL("../../", import.meta.url);
const SUMMARIES: Readonly<Record<string, (results: Results) => string>> = {
  all: summarizeAll,
  changes: summarizeChanges,
  rollover: summarizeRollOver,
};
const DOCUMENTS = ["README.md", "docs/monitoring.md", "docs/sources.md"];
const REPORT = "bench/results/README.md";
export const BLOCK = /(<!-- measured: (\w+) -->\n)[^]*?(<!-- \/measured -->)/g;

export const RESULTS: string = fileURLToPath(new URL("bench/results/", ROOT));

/** What each page and chart must hold, by its path from the root of this repository. */
export async function pagesOf(results: Results): Promise<ReadonlyMap<string, string>> {
  const pages = new Map([[REPORT, toReport(results)]]);
  for (const { tables } of results.values()) {
    for (const table of tables) {
      const chart = chartOf(table);
      if (chart) pages.set(`bench/results/${chart}`, table.picture ?? toSvg(table));
    }
  }
  for (const path of DOCUMENTS) {
    const text = await readFile(new URL(path, ROOT), "utf8");
    const fill = (_block: string, begin: string, name: string, end: string) =>
      `${begin}\n${SUMMARIES[name]!(results)}\n\n${end}`;
    pages.set(path, text.replace(BLOCK, fill));
  }
  return pages;
}

export async function writePages(): Promise<void> {
  const pages = await pagesOf(await readResults(RESULTS));
  for (const [path, content] of pages) await writeFile(new URL(path, ROOT), content);
  const format = ["fmt", "--quiet", "bench/results", ...DOCUMENTS];
  await promisify(execFile)(process.execPath, format, { cwd: fileURLToPath(ROOT) });
}

function toReport(results: Results): string {
  const parts = [...results.values()];
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
