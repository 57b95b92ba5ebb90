import { execFile } from "node:child_process";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** A runtime to run a file on. */
export interface Runtime {
  /** Such as `bun 1.4.5`: what `runtimeName()` says inside it. */
  readonly name: string;
  /** The program. */
  readonly path: string;
  /** What stands before a file to run it. */
  readonly runArgs: readonly string[];
  /** What stands before files to test them. */
  readonly testArgs: readonly string[];
}

const ROOT = new URL("../../", import.meta.url);
/** The one folder that this repository installs into, beside `node_modules`. */
const FOLDER = new URL(".runtimes/", ROOT);
const PLATFORM = `${process.platform}-${process.arch}`;
const PACKAGES = {
  bun: `npm:@oven/bun-${PLATFORM === "linux-arm64" ? "linux-aarch64" : PLATFORM}@1.4.5`,
  node22: `npm:node-${PLATFORM}@^22.18.0`,
  node: `npm:node-${PLATFORM}@^24.0.0`,
};
const denoPackage = (version: string) =>
  `npm:@deno/${PLATFORM}${process.platform === "linux" ? "-glibc" : ""}@${version}`;
/** The oldest versions whose native servers must follow a state, exactly. */
const OLD_PACKAGES = { bun: PACKAGES.bun.replace(/@[^@]*$/, "@1.3.0"), deno: denoPackage("2.8.0") };
/** Its `Deno.serve` has no stall at 1 KiB: benchmarks compare with it. */
const DENO_27_PACKAGES = { deno: denoPackage("2.7.14") };
/** The newest compiler, the oldest that users are known to have, and the published types of Bun and Node. */
const TYPE_PACKAGES = {
  "typescript": "npm:typescript@^7.0.0",
  "typescript-5.6": "npm:typescript@~5.6.0",
  "@types/bun": "npm:@types/bun@^1.4.0",
  "@types/node": "npm:@types/node@^24.0.0",
};
/** A registry may fail for a moment: half a minute is given to it. */
const INSTALL_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 2_000;
const run = promisify(execFile);

/** The Deno that this process runs on. */
export const deno: Runtime = {
  name: `deno ${process.versions.deno}`,
  path: process.execPath,
  runArgs: ["run", "-A"],
  testArgs: ["test", "-A", "--quiet"],
};

/** Installs Bun and two versions of Node, once, from npm and with nothing but Deno. */
export async function installRuntimes(): Promise<{ bun: Runtime; node22: Runtime; node: Runtime }> {
  await install(FOLDER, PACKAGES);
  await linkStandIns();
  const program = (name: string, file = name) => fileURLToPath(new URL(`node_modules/${name}/bin/${file}`, FOLDER));
  const node = async (path: string): Promise<Runtime> => ({
    name: `node ${await version(path)}`,
    path,
    runArgs: ["--disable-warning=ExperimentalWarning"],
    testArgs: ["--disable-warning=ExperimentalWarning", "--test-reporter=tap"],
  });
  const bun = program("bun");
  return {
    bun: { name: `bun ${await version(bun)}`, path: bun, runArgs: [], testArgs: ["test", "--timeout", "120000"] },
    node22: await node(program("node22", "node")),
    node: await node(program("node")),
  };
}

/** Installs the oldest versions of Bun and Deno whose native servers must follow a state. */
export async function installOldRuntimes(): Promise<{ bun: Runtime; deno: Runtime }> {
  const folder = new URL("old/", FOLDER);
  await install(folder, OLD_PACKAGES);
  const bun = fileURLToPath(new URL("node_modules/bun/bin/bun", folder));
  return {
    bun: { name: `bun ${await version(bun)}`, path: bun, runArgs: [], testArgs: ["test"] },
    deno: await denoIn(folder),
  };
}

/** Installs Deno 2.7, which is older than what this module supports. */
export async function installDeno27(): Promise<Runtime> {
  const folder = new URL("deno27/", FOLDER);
  await install(folder, DENO_27_PACKAGES);
  return await denoIn(folder);
}

/** Installs TypeScript compilers and the types that Bun and Node publish. */
export async function installTypes(): Promise<{ modules: string; compiler: string; oldCompiler: string }> {
  const folder = new URL("types/", FOLDER);
  await install(folder, TYPE_PACKAGES);
  const modules = new URL("node_modules/", folder);
  const compiler = (name: string) => fileURLToPath(new URL(`${name}/bin/tsc`, modules));
  return {
    modules: fileURLToPath(modules),
    compiler: compiler("typescript"),
    oldCompiler: compiler("typescript-5.6"),
  };
}

async function install(folder: URL, dependencies: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(new URL("package.json", folder), JSON.stringify({ dependencies }));
  for (let attempt = 1;; attempt++) {
    try {
      await run(deno.path, ["install", "--quiet"], { cwd: folder });
      return;
    } catch (error) {
      if (attempt === INSTALL_ATTEMPTS) throw error;
      await delay(FIRST_PAUSE_MS * 2 ** (attempt - 1));
    }
  }
}

async function denoIn(folder: URL): Promise<Runtime> {
  const path = fileURLToPath(new URL("node_modules/deno/deno", folder));
  const [, name = ""] = /^(deno [\d.]+)/.exec(await version(path)) ?? [];
  return { ...deno, name, path };
}

async function version(path: string): Promise<string> {
  return (await run(path, ["--version"])).stdout.trim().replace(/^v/, "");
}

/** Lets Bun and Node, which read no import map, import `@std/…` and this module by their names. */
async function linkStandIns(): Promise<void> {
  const modules = new URL("node_modules/", ROOT);
  await mkdir(modules, { recursive: true });
  await symlink("../tests/std", new URL("@std", modules), "junction").catch((error) => {
    if (error.code !== "EEXIST") throw error;
  });
  const { name, exports } = JSON.parse(await readFile(new URL("deno.json", ROOT), "utf8"));
  const folder = new URL(`${name}/`, modules);
  await mkdir(folder, { recursive: true });
  const entries = Object.entries<string>(exports).map(([entry, path]) => [entry, basename(path, ".ts"), path] as const);
  // Node strips types from no file below node_modules, so these are JavaScript and re-export the source outside of it.
  for (const [, file, path] of entries) {
    await writeFile(new URL(`${file}.js`, folder), `export * from "${new URL(path, ROOT).href}";\n`);
  }
  const targets = Object.fromEntries(entries.map(([entry, file]) => [entry, `./${file}.js`]));
  await writeFile(new URL("package.json", folder), JSON.stringify({ name, type: "module", exports: targets }));
}

/** Which runtime this is, such as `node 24.21.0`. */
export function runtimeName(): string {
  const { deno, bun, node } = process.versions;
  return deno ? `deno ${deno}` : bun ? `bun ${bun}` : `node ${node}`;
}
