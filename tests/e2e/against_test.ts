import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { bringServer, measureAgainst } from "../../bench/against.ts";
import { rotateAll } from "../../bench/rotation.ts";
import { openBench } from "../../bench/support/bench.ts";
import { stopChildren } from "../../bench/support/child.ts";
import type { Table } from "../../bench/support/report.ts";

/** The bench is a task of Deno, and starts the same clients and servers on any runtime. */
const ON_DENO = { skip: process.versions["deno"] ? false : "is run once, by Deno" };
/** Serves new files at SIGHUP, unless it is told to ignore the signal. */
const PROGRAM = `
  const { readFileSync } = require("node:fs");
  const [cert, key, port, isDeaf] = process.argv.slice(1);
  const pair = () => ({ cert: readFileSync(cert), key: readFileSync(key) });
  const server = require("node:https").createServer(pair(), (_request, response) => response.end("hello"));
  process.on("SIGHUP", () => isDeaf || server.setSecureContext(pair()));
  server.listen(port, "127.0.0.1");`;

const UNHARMED = { "lost per swap": 0, "busy alive of 8": 8, "idle alive of 8": 8, "half-sent answered of 8": 8 };

/** The figures of a row, in the order of the columns. */
function figuresOf({ rows, columns }: Table, row: number): Record<string, number> {
  return Object.fromEntries(columns.map(({ name }, at) => [name, rows[row]!.cells[at]![0]!]));
}

test("bench --against tells a server that follows from one that does not, beside a control", ON_DENO, async () => {
  const bench = await openBench({ rounds: 1, seconds: 0.25, isQuick: true });
  const program = `${bench.runtimes.node.path} -e '${PROGRAM}' {cert} {key} {port}`;
  try {
    const [counts, costs] = await measureAgainst(bench, {
      command: program,
      reload: "kill -HUP {pid}",
      signal: "SIGTERM",
    });
    const [following, control] = [figuresOf(counts!, 0), figuresOf(counts!, 1)];
    for (const [name, expected] of Object.entries(UNHARMED)) {
      assertEquals([following[name], control[name]], [expected, expected], name);
    }
    assertEquals(control["stale %"], 0);
    for (const row of [0, 1]) assert(figuresOf(costs!, row)["p50 / control"]! > 0);

    const [ofDeaf] = await rotateAll(bench, [bringServer({ command: `${program} deaf`, signal: "SIGHUP" })]);
    const [stale, deaf] = [following["stale %"]!, figuresOf(ofDeaf!, 0)["stale %"]];
    assert(
      deaf! > 10 && stale < deaf! / 2,
      `stale: ${stale} % of a server that follows, ${deaf} % of one that does not`,
    );
  } finally {
    await stopChildren();
    await bench.close();
  }
});
