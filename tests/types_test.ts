import { assert, assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { RECIPES } from "./support/recipes.ts";
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

/** Runs a compiler, and returns its complaints. */
const complaints = (command: string, args: readonly string[], cwd: string): Promise<string> =>
  run(command, args, { cwd, env: { ...process.env, NO_COLOR: "1" } }).then(() => "", (error) => {
    return `${error.stdout}${error.stderr}`;
  });

const readConfig = async () => JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));

/** Compiles files of a folder that has a `node_modules`, and returns the complaints. */
async function compile(
  folder: string,
  compiler: string,
  compilerOptions: object,
  files: readonly string[],
): Promise<string> {
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  await writeFile(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { strict: true, ...compilerOptions }, files }),
  );
  return await complaints(process.execPath, ["run", "-A", compiler, "-p", folder], folder);
}

test(
  "the declarations of Bun in src/ match @types/bun, and tsc accepts src/ with @types/node",
  ON_DENO,
  () =>
    withChecks("Bun", async (folder) => {
      const { modules, compiler } = await installTypes();
      await symlink(modules, join(folder, "node_modules"), "junction");
      const options = {
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
      const { exports } = await readConfig();
      const files = ["types/bun.ts", ...Object.values<string>(exports)];
      assertEquals(await compile(folder, compiler, options, files), "");
    }),
);

test(
  "the declarations of Deno in src/ match the types of Deno, with the compiler options of a new project",
  ON_DENO,
  () =>
    withChecks("Deno", async (folder) => {
      await writeFile(join(folder, "deno.json"), "{}");
      assertEquals(
        await complaints(process.execPath, ["check", "--quiet", "mod.ts", "src", "types/deno.ts"], folder),
        "",
      );
    }),
);

/** The compiler options of a new project: those of `@tsconfig/node22`, and of `bun init`. */
const PROJECTS = {
  Node: { module: "node16", target: "es2022", lib: ["es2023"], types: ["node"] },
  Bun: {
    module: "preserve",
    moduleResolution: "bundler",
    moduleDetection: "force",
    target: "esnext",
    lib: ["esnext"],
    types: ["bun"],
    noImplicitOverride: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
  },
};

/** Installs this module into a folder as JSR publishes it for npm, which is as declarations. */
async function publishTo(folder: string, compiler: string): Promise<string[]> {
  const { name, exports } = await readConfig();
  const options = {
    declaration: true,
    emitDeclarationOnly: true,
    noCheck: true,
    allowImportingTsExtensions: true,
    target: "esnext",
    module: "nodenext",
    types: ["node"],
    rootDir: ROOT,
    outDir: join(folder, "node_modules", name),
  };
  const sources = Object.values<string>(exports).map((path) => join(ROOT, path));
  assertEquals(await compile(folder, compiler, options, sources), "");
  const entries = Object.entries<string>(exports).map(([entry, path]) => [entry, path.replace(/ts$/, "d.ts")] as const);
  const targets = Object.fromEntries(entries.map(([entry, types]) => [entry, { types }]));
  await writeFile(
    join(folder, "node_modules", name, "package.json"),
    JSON.stringify({ name, type: "module", exports: targets }),
  );
  return entries.map(([, path]) => join("node_modules", name, path));
}

/** Runs a test with a folder that has the packages of the recipes, the types of Node and Bun, and this module. */
async function withProject(
  body: (folder: string, entries: readonly string[], compilers: readonly string[]) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  try {
    const { modules, compiler, oldCompiler } = await installTypes();
    await mkdir(join(folder, "node_modules/@types"), { recursive: true });
    const link = (from: string, name: string) =>
      symlink(join(from, name), join(folder, "node_modules", name), "junction");
    for (const name of await readdir(join(ROOT, "node_modules"))) {
      if (!/^@(?:std|types|x)$|^\./.test(name)) await link(join(ROOT, "node_modules"), name);
    }
    for (const name of await readdir(join(ROOT, "node_modules/@types"))) {
      await link(join(ROOT, "node_modules"), `@types/${name}`);
    }
    await link(modules, "@types/bun");
    await cp(join(ROOT, "examples/frameworks"), join(folder, "recipes"), { recursive: true });
    await body(folder, await publishTo(folder, compiler), [oldCompiler, compiler]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test(
  "tsc of TypeScript 5.6 and the newest accept the recipes, and the newest what JSR publishes",
  ON_DENO,
  () =>
    withProject(async (folder, entries, compilers) => {
      for (const compiler of compilers) {
        for (const [runtime, project] of Object.entries(PROJECTS)) {
          const recipes = RECIPES.filter(({ runsOn }) => runsOn.some((name) => name.startsWith(runtime)));
          const options = { ...project, noEmit: true, skipLibCheck: true };
          const files = recipes.map(({ file }) => join("recipes", file));
          assertEquals(await compile(folder, compiler, options, files), "", `${compiler} for ${runtime}`);
        }
      }
      assertEquals(await compile(folder, compilers.at(-1)!, { ...PROJECTS.Node, noEmit: true }, entries), "");
    }),
);
