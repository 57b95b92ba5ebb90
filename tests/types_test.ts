import { assert, assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { installTypes } from "./support/runtimes.ts";

/** The types are the same whatever runs the compilers. */
const ON_DENO = { skip: process.versions["deno"] ? false : "is run once, by Deno" };
const ROOT = fileURLToPath(new URL("../", import.meta.url));
const run = promisify(execFile);

/**
 * Copies the source, and adds to each file that declares `Bun` or `Deno` a line that compiles only if the runtime's own
 * type has what is declared. It is a cast, because a declaration may be narrower than what is published: the port of
 * our servers is a number, while that of a server on a unix socket is `undefined`.
 */
async function withChecks(name: "Bun" | "Deno", body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  try {
    await cp(join(ROOT, "src"), join(folder, "src"), { recursive: true });
    await cp(join(ROOT, "mod.ts"), join(folder, "mod.ts"));
    await cp(join(ROOT, "tests/types"), join(folder, "types"), { recursive: true });
    let declarations = 0;
    for (const file of await readdir(join(folder, "src"), { recursive: true })) {
      if (!file.endsWith(".ts")) continue;
      const path = join(folder, "src", file);
      const text = await readFile(path, "utf8");
      if (!text.includes(`\ndeclare const ${name}:`)) continue;
      declarations++;
      await writeFile(path, `${text}\nexport const publishedFits = globalThis.${name} as typeof ${name};\n`);
    }
    assert(declarations > 0, `no file declares ${name}`);
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Runs a compiler and gives what it complains about. */
const complaints = (command: string, args: readonly string[], cwd: string): Promise<string> =>
  run(command, args, { cwd, env: { ...process.env, NO_COLOR: "1" } }).then(() => "", (error) => {
    return `${error.stdout}${error.stderr}`;
  });

test(
  "the declarations of Bun in src/ match @types/bun, and tsc accepts src/ with @types/node",
  ON_DENO,
  () =>
    withChecks("Bun", async (folder) => {
      const { modules, compiler } = await installTypes();
      await symlink(modules, join(folder, "node_modules"), "junction");
      const compilerOptions = {
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        erasableSyntaxOnly: true,
        verbatimModuleSyntax: true,
        allowImportingTsExtensions: true,
        noEmit: true,
        skipLibCheck: true,
        target: "esnext",
        module: "nodenext",
        types: ["bun", "node"],
      };
      const { exports } = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
      const files = ["types/bun.ts", ...Object.values<string>(exports)];
      await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
      await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
      assertEquals(await complaints(process.execPath, ["run", "-A", compiler, "-p", folder], folder), "");
    }),
);

test("the declarations of Deno in src/ match the types of Deno", ON_DENO, () =>
  withChecks("Deno", async (folder) => {
    const config = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
    const { compilerOptions } = config;
    await writeFile(join(folder, "deno.json"), JSON.stringify({ compilerOptions }));
    assertEquals(
      await complaints(process.execPath, ["check", "--quiet", "mod.ts", "src", "types/deno.ts"], folder),
      "",
    );
  }));
