import { assert, assertEquals, assertMatch } from "@std/assert";
import { dirname, join } from "@std/path";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import test from "node:test";

const ROOT = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), "utf8");
const deno = JSON.parse(read("deno.json"));
const jsr = JSON.parse(read("jsr.json"));
const standIns: Record<string, string> = JSON.parse(read("tests/std/import_map.json")).imports;

test("deno.json and jsr.json say the same", () => {
  assertEquals(jsr, {
    name: deno.name,
    version: deno.version,
    license: deno.license,
    exports: deno.exports,
    publish: deno.publish,
  });
  assertMatch(deno.version, /^\d+\.\d+\.\d+$/);
});

test("the stand-in import map covers every import of deno.json, and every export", () => {
  for (const [name, target] of Object.entries<string>(deno.imports)) {
    if (!target.startsWith("jsr:")) assertEquals(standIns[name], target, name);
    else assert(existsSync(new URL(standIns[name] ?? "missing", new URL("tests/std/", ROOT))), name);
  }
  for (const [name, target] of Object.entries<string>(deno.exports)) {
    const standIn = standIns[join(deno.name, name)];
    assertEquals(new URL(standIn ?? "missing", new URL("tests/std/", ROOT)).href, new URL(target, ROOT).href, name);
  }
});

test("what is published exists, and holds every export", () => {
  const { include } = deno.publish as { include: string[] };
  for (const path of [...include, ...Object.values<string>(deno.exports)]) {
    assert(existsSync(new URL(path, ROOT)), `${path} is missing`);
  }
  for (const path of Object.values<string>(deno.exports).map((path) => path.replace("./", ""))) {
    assert(include.some((each) => path === each || path.startsWith(`${each}/`)), `${path} is not published`);
  }
});

/** The files of src/ without their comments, by path. */
const sources = new Map(
  readdirSync(new URL("src/", ROOT), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => path.replaceAll("\\", "/"))
    .map((path) => [path, read(`src/${path}`).replace(/\/\*\*?\s[^]*?\*\/|^\s*\/\/.*$/gm, "")]),
);

/** What a file imports, types as well. */
function importsOf(path: string): string[] {
  const statements = /^(?:import|export)\b(?:[^;"]*?\bfrom)?\s*"([^"]+)";$/gm;
  return [...sources.get(path)!.matchAll(statements)].map(([, specifier = ""]) => specifier);
}

/** The files of src/ that a file imports. */
function dependenciesOf(path: string): string[] {
  return importsOf(path).filter((each) => each.startsWith(".")).map((each) => join(dirname(path), each));
}

test("src/ imports nothing but built-ins of node: and its own files", () => {
  assert(sources.size > 10);
  for (const [path, source] of sources) {
    const mentions = source.match(/\bfrom\s*"|^import "|\bimport\(|\brequire\(/gm) ?? [];
    assertEquals(importsOf(path).length, mentions.length, `${path} has an import that was not understood`);
    for (const specifier of importsOf(path)) {
      if (specifier.startsWith("node:")) continue;
      assertMatch(specifier, /^\.\.?\/.*\.ts$/, path);
      assert(sources.has(join(dirname(path), specifier)), `${path} imports ${specifier}`);
    }
  }
});

test("src/ has no cycle of imports, not even of types", () => {
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    assert(!trail.includes(path), `cycle: ${[...trail, path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const dependency of dependenciesOf(path)) visit(dependency, [...trail, path]);
    done.add(path);
  };
  for (const path of sources.keys()) visit(path, []);
});

/** The rooms of src/, each with the rooms that it may import from; every room may use the files beside them. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  x509: [],
  findings: ["x509"],
  node_internals: [],
  config: ["x509", "findings", "node_internals"],
  accept: ["x509", "config", "node_internals"],
  attach: ["x509", "config", "accept", "native", "node_internals"],
  client: ["x509", "config", "accept", "roots"],
  kernel: [],
  native: ["x509", "config", "accept", "kernel", "node_internals"],
  bun: ["x509", "config", "accept", "native"],
  deno: ["x509", "config", "accept", "native"],
  reload: ["x509", "config", "accept"],
  roots: ["x509"],
  check: ["x509", "findings", "config", "roots"],
  status: ["reload"],
};
/** The entries, which users import: module doc and re-exports only. */
const ENTRIES = Object.values<string>(deno.exports).filter((path) => path.startsWith("./src/")).map((path) =>
  path.slice("./src/".length)
);

test("the arrows between the rooms of src/ point one way", () => {
  const roomOf = (path: string) => path.includes("/") ? path.split("/")[0]! : "";
  for (const path of sources.keys()) {
    if (ENTRIES.includes(path)) continue;
    const room = roomOf(path);
    assert(room === "" || room in ROOMS, `${path} has no place in the layout of this test`);
    const allowed = ["", room, ...(ROOMS[room] ?? [])];
    for (const dependency of dependenciesOf(path)) {
      assert(!ENTRIES.includes(dependency), `${path} must not import the entry ${dependency}`);
      assert(allowed.includes(roomOf(dependency)), `${path} must not import ${dependency}`);
    }
  }
});

/** What the one entry that is also a command holds beside its exports. */
const COMMAND = `import process from "node:process";
import { runCheck } from "./check/command.ts";


if (import.meta.main) void runCheck(process.argv.slice(2));
`;

test("an entry holds its module doc and re-exports, and nothing else but the start of a command", () => {
  for (const path of ["../mod.ts", ...ENTRIES.map((entry) => `../src/${entry}`)]) {
    const source = read(`tests/${path}`);
    assertMatch(source, /^\/\*\*\n[^]*? \* @module\n \*\/\n/, path);
    const code = source.replace(/^\/\*\*\n[^]*? \*\/\n/, "");
    assertEquals(
      code.replace(/^export (?:type )?\{[^}]*\} from "\.[^"]+\.ts";\n/gm, ""),
      path.endsWith("/check.ts") ? COMMAND : "",
      path,
    );
  }
});

test("only attach, kernel, native, bun, deno and roots know which runtime they run on, beside the error that names it and the terminal", () => {
  for (const [path, source] of sources) {
    if (/^(?:attach|kernel|native|bun|deno|roots)\/|^unsupported\.ts$|^check\/terminal\.ts$/.test(path)) continue;
    const code = source.replace(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, '""');
    assertEquals(code.match(/\b(?:Deno|Bun|globalThis|process\.(?:versions|release|env|platform))\b/g), null, path);
  }
});

test("src/ names no type that only the DOM library declares", () => {
  for (const [path, source] of sources) {
    const names = /\b(?:EventListenerOrEventListenerObject|EventListenerObject|AddEventListenerOptions)\b/g;
    assertEquals(source.match(names), null, path);
  }
});
