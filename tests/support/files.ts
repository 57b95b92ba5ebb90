import { join } from "@std/path";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";

/** A directory of files for one test. */
export interface TestFiles {
  /** The path of a file in it, whether it is there or not. */
  path(name: string): string;
  /** Writes a file and gives its path. */
  write(name: string, content: string | Uint8Array): Promise<string>;
}

/** Runs a test with a directory of its own, which is gone after it. */
export async function withFiles<T>(body: (files: TestFiles) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const path = (name: string) => join(directory, name);
  const write = (name: string, content: string | Uint8Array) => writeFile(path(name), content).then(() => path(name));
  try {
    return await body({ path, write });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
