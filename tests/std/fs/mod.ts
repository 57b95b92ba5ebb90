// A stand-in of the few functions of @std/fs that the tests use, for machines that cannot reach JSR.
import { access, mkdir, rm } from "node:fs/promises";

export async function ensureDir(path: string | URL): Promise<void> {
  await mkdir(path, { recursive: true });
}

export async function emptyDir(path: string | URL): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true });
}

export function exists(path: string | URL): Promise<boolean> {
  return access(path).then(() => true, () => false);
}
