import { assert, assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { BLOCK, pagesOf, RESULTS } from "../bench/support/pages.ts";
import { readResults } from "../bench/support/results.ts";

const ROOT = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), "utf8");
/** Without what the formatter changes: space, the dashes of tables, and semicolons at the end of CSS. */
const unformatted = (text: string) => text.replace(/-{3,}/g, "---").replace(/[\s;]+/g, "");

const results = await readResults(RESULTS);
const pages = await pagesOf(results);

test("documents and bench/results show what is in the JSON of bench/results", () => {
  for (const [path, content] of pages) {
    assertEquals(unformatted(read(path)), unformatted(content), `${path}: deno task bench --write`);
  }
});

test("bench/results holds no chart of what is not measured any more", () => {
  const charts = readdirSync(RESULTS).filter((name) => name.endsWith(".svg"));
  for (const chart of charts) assert(pages.has(`bench/results/${chart}`), chart);
});

test("README.md has no number of its own in the section Measured", () => {
  const [, section = ""] = /\n## Measured\n([^]*?)\n## /.exec(read("README.md")) ?? [];
  assertEquals(section.match(BLOCK)?.length, 1);
  assertEquals(section.replace(BLOCK, "").match(/\d+/g), null);
});

test("documents state no ratio and no rate outside the section Measured", () => {
  const documents = ["README.md", "MIGRATING.md", ...readdirSync(new URL("docs/", ROOT)).map((name) => `docs/${name}`)];
  for (const path of documents) {
    assertEquals(
      read(path).replace(BLOCK, "").match(/×\s?\d.*|.*\d\s?(?:ns|µs|per second)\b.*/g),
      null,
      path,
    );
  }
});

test("each result names its command, date, system and versions", () => {
  for (const { part, command, date, system, versions } of results.values()) {
    assert(command.startsWith(`deno task bench --only ${part}`), part);
    assert(!Number.isNaN(Date.parse(date)), part);
    assert(/ \d+ cores$/.test(system) && versions.length > 3, part);
  }
});
