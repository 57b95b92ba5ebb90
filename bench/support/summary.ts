// What README.md says of the results.
import {
  markdownTable,
  medianOf,
  oursOf,
  ratioOf,
  remarks,
  resultOf,
  type Results,
  rowOf,
  span,
  tableOf,
} from "./figures.ts";
import { format } from "./report.ts";

const ROTATION_COLUMNS = ["lost per swap", "stale %", "busy alive of 8", "idle alive of 8"];
const ROTATION_PEERS = [
  "Go, GetCertificate",
  "HAProxy, runtime API",
  "https.createServer and setSecureContext(), node",
  "nginx, reload",
  "Caddy, reload",
  "hitch, SIGHUP",
  "Bun.serve, the next overlapping",
  "Deno.serve, the next overlapping",
];
const SPEED_COLUMNS = [
  "200 B, per second",
  "1 KiB",
  "20 KiB",
  "fresh connections",
  "64 MiB, MiB/s",
  "HTTP/2 streams",
  "WebSocket messages",
];
const SPEED_ROWS = [
  { label: "`serve()` on Bun", title: "Bun.serve", name: "serve() of ./bun" },
  { label: "`attach()`, `https` on Bun", title: "https on Bun", name: "https.createServer and attach()" },
  { label: "`serve()` on Deno", title: "Deno.serve", name: "serve() of ./deno" },
  { label: "`listenTls()`", title: "Deno.listenTls", name: "listenTls() of ./deno" },
  { label: "`attach()`, `https` on Node", title: "https on Node", name: "https.createServer and attach()" },
  { label: "`attach()`, `http2` on Node", title: "http2 on Node", name: "http2.createSecureServer and attach()" },
  { label: "nginx in front of `Bun.serve`", title: "Bun.serve", name: "nginx in front of Bun.serve" },
  { label: "HAProxy in front of `Bun.serve`", title: "Bun.serve", name: "HAProxy in front of Bun.serve" },
];

export function summarizeAll(results: Results): string {
  const { date, system, rounds } = resultOf(results, "rotation");
  return `\`deno task bench\`, ${date}, ${system}, rounds: ${rounds}. [All results](bench/results/README.md), and \
[the bench](docs/bench.md), which measures your server too.${remarks(results)}

A swap every 50 ms, and 16 clients that open a connection for each request. Stale ones got a replaced certificate; alive
are connections from before the first swap:

${rotationTable(results)}
Speed as ratio to the bare server. The bare \`Deno.serve\` waits 44 ms for each answer above a size: about 400 bytes in 2.8
and 2.9, 16 KiB in 2.7, which is compared at 1 KiB and 20 KiB:

${speedTable(results)}
${costs(results)}`;
}

function rotationTable(results: Results): string {
  const table = tableOf(results, "rotation", "Rotation under load");
  const ours = table.rows.filter((row) => row.isOurs);
  const worst = ROTATION_COLUMNS.map((column) => {
    const figures = ours.map((row) => medianOf(table, row, column));
    return format(column.includes("alive") ? Math.min(...figures) : Math.max(...figures));
  });
  const peers = ROTATION_PEERS.map((name) => ({
    name,
    cells: ROTATION_COLUMNS.map((column) => format(medianOf(table, rowOf(table, name), column))),
  }));
  const alike = Map.groupBy(peers, ({ cells }) => cells.join());
  return markdownTable(["", ...ROTATION_COLUMNS], [
    [`**each of the ${ours.length} servers of this library**`, ...worst],
    ...[...alike.values()].map((rows) => [rows.map(({ name }) => name).join("; "), ...rows[0]!.cells]),
  ]);
}

function speedTable(results: Results): string {
  const rows = SPEED_ROWS.map(({ label, title, name }) => {
    const table = tableOf(results, "speed", title);
    const cells = SPEED_COLUMNS.map((column) => {
      if (!table.columns.some((each) => each.name === column)) return "";
      const value = ratioOf(table, rowOf(table, name), column);
      return Number.isNaN(value) ? "" : value.toFixed(2);
    });
    return [label, ...cells];
  });
  return markdownTable(["", ...SPEED_COLUMNS.map((column) => column.replace(/, .*/, ""))], rows);
}

function costs(results: Results): string {
  const latency = tableOf(results, "rotation", "Latency under rotation, and the cost of a swap");
  const swaps = (column: string) => span(oursOf(latency).map((row) => medianOf(latency, row, column)));
  const idle = tableOf(results, "idle", "Memory of an idle connection");
  const clients = tableOf(results, "clients", "Client certificates");
  const handshakes = (column: string) => span(oursOf(clients).map((row) => ratioOf(clients, row, column)));
  const loading = tableOf(results, "loading", "Load and proof");
  const loads = loading.rows.filter(({ name }) => name.endsWith("loadTlsConfig(), checked and proved"));
  const reload = tableOf(results, "reload", "Reload latency");
  const settled = reload.rows.filter(({ name }) => name.endsWith("(default)"));
  return `A swap takes ${swaps("CPU ms of a swap")} ms of processor time, loading with its proof \
${
    span(loads.flatMap((row) => loading.columns.map(({ name }) => medianOf(loading, row, name))))
  } ms. Under a swap every \
50 ms, the p50 from connect to first byte is ${swaps("p50 / control")} of that without swaps, the p99 \
${swaps("p99 / control")}. An idle connection holds ${
    span(oursOf(idle).map((row) => ratioOf(idle, row, "KiB")))
  } of the \
memory that it holds in a bare server; a handshake takes ${
    handshakes("CPU µs of a connection")
  } of the processor time, \
with a client certificate ${handshakes("CPU µs with a client certificate")}. A replaced file is served after \
${span(settled.map((row) => medianOf(reload, row, "p50 ms")))} ms, most of it settle time.`;
}
