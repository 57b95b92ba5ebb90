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

/** The rooms from the ground up: one may use those before it, never those after it, and folders their own files. */
const ROOMS = [
  ["errors.ts", "der.ts", "inspect.ts", "milliseconds.ts", "warning.ts"],
  ["pem.ts", "certificate_fields.ts", "unsupported.ts"],
  ["pem_file.ts", "certificate.ts", "encrypted_key.ts"],
  ["private_key.ts", "roots"],
  ["tls_config.ts"],
  ["client_check.ts"],
  ["tls_acceptor.ts"],
  ["proof.ts", "tls_state.ts"],
  ["load_tls_config.ts"],
  ["runtime", "reload"],
];

test("the arrows between the rooms of src/ point one way", () => {
  const roomOf = (path: string) => path.split("/")[0]!;
  const floorOf = (path: string) => {
    const floor = ROOMS.findIndex((rooms) => rooms.includes(roomOf(path)));
    assert(floor >= 0, `${path} has no place in the layout of this test`);
    return floor;
  };
  for (const path of sources.keys()) {
    for (const dependency of dependenciesOf(path)) {
      const isOwn = path.includes("/") && roomOf(dependency) === roomOf(path);
      assert(isOwn || floorOf(dependency) < floorOf(path), `${path} must not import ${dependency}`);
    }
  }
});

test("only src/runtime and src/roots know which runtime they run on, beside the error that names it", () => {
  for (const [path, source] of sources) {
    if (/^(?:runtime|roots)\/|^unsupported\.ts$/.test(path)) continue;
    const code = source.replace(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, '""');
    assertEquals(code.match(/\b(?:Deno|Bun|globalThis|process\.(?:versions|release|env|platform))\b/g), null, path);
  }
});
