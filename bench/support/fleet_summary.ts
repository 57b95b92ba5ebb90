// What docs/ says of the fleet.
import { cellOf, markdownTable, medianOf, remarks, resultOf, type Results, rowOf, span, tableOf } from "./figures.ts";
import { format } from "./report.ts";

/** How soon all processes serve a change of a store. */
export function summarizeChanges(results: Results): string {
  const table = tableOf(results, "fleet", "A change of a store");
  const row = (label: string, column: string) => [
    label,
    ...table.rows.map((row) => `${format(medianOf(table, row, column))} ms`),
  ];
  const { system, versions } = resultOf(results, "fleet");
  const stores = versions.filter((version) => /^(?:etcd|Redis|NATS) /.test(version));
  return `${
    markdownTable(["", ...table.rows.map(({ name }) => name)], [
      row("median", "all nine, p50 ms"),
      row("99 % are below", "all nine, p99 ms"),
    ])
  }
\`deno task bench --only fleet\`, ${system}, with ${stores.join(", ")}.${remarks(results)}`;
}

/** What a roll-over of the client authority costs the clients. */
export function summarizeRollOver(results: Results): string {
  const table = tableOf(results, "fleet", "Rolling over a client authority");
  const cells = (way: string, column: string) => cellOf(table, rowOf(table, way), column);
  const steps = cells("two steps, driven by /metrics", "refused or cut");
  return `Runs: ${steps.length}, connections in each: \
${span(cells("two steps, driven by /metrics", "connections"))}. Clients that were refused or disconnected: \
${span(steps)}; replaced in one step: ${span(cells("one step, for comparison", "refused or cut"))}.${remarks(results)}`;
}
