import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type FileSystem, nodeFileSystem } from "../../src/roots/files.ts";
import type { RootSystem } from "../../src/roots/sources.ts";

/** A machine whose environment a test decides, with the real file system. */
export function systemOf(
  env: Readonly<Record<string, string | undefined>>,
  options: Partial<RootSystem> = {},
): RootSystem {
  return {
    platform: "linux",
    env: (name) => env[name],
    files: nodeFileSystem,
    security: "/nonexistent/security",
    runtimeRoots: undefined,
    limit: limitBy(new AbortController()),
    ...options,
  };
}

/** A time limit that is over when a test says so. */
export function limitBy({ signal }: AbortController, end = () => {}): RootSystem["limit"] {
  return () => ({ signal, end });
}

/** The real file system behind a fault. */
export interface FaultyFileSystem extends FileSystem {
  /** The paths that were opened, in their order. */
  readonly reads: string[];
}

/**
 * The real file system, except that a fault may come before a file is read.
 *
 * @param fault Called with the path and how often a file has been read before; an error that it gives is thrown.
 */
export function faultyFiles(
  fault: (path: string, index: number) => Error | undefined = () => undefined,
): FaultyFileSystem {
  const reads: string[] = [];
  return {
    ...nodeFileSystem,
    reads,
    read(path) {
      const error = fault(path, reads.push(path) - 1);
      if (error) throw error;
      return nodeFileSystem.read(path);
    },
  };
}

/** The real file system, except that a path which begins with `/` does so in another directory. */
export function rootedFiles(root: string): FileSystem {
  return {
    realPath: (path) => nodeFileSystem.realPath(root + path).then((path) => path.slice(root.length)),
    list: (directory) => nodeFileSystem.list(root + directory),
    readLink: (path) => nodeFileSystem.readLink(root + path),
    read: (path) => nodeFileSystem.read(root + path),
  };
}

/** An error of the operating system. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/** How a file is run: with nothing of the test's own environment but what programs need to be found. */
export interface RunOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The permissions on Deno. */
  readonly denoFlags?: readonly string[];
}

/** Runs a file of this repository on the runtime that runs the test, and gives what it prints. */
export async function runHere(file: string, options: RunOptions = {}): Promise<string> {
  const { args = [], env = {}, denoFlags = ["-A"] } = options;
  const runArgs = process.versions["deno"] ? ["run", "--no-prompt", "--quiet", ...denoFlags] : [];
  const kept = ["HOME", "PATH", "DENO_DIR"].map((name) => [name, process.env[name]]).filter(([, value]) => value);
  const { stdout } = await promisify(execFile)(process.execPath, [...runArgs, file, ...args], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    env: { ...Object.fromEntries(kept), ...env },
  });
  return stdout;
}
