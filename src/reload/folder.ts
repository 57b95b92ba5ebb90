import { hash } from "node:crypto";
import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { forEachConcurrently } from "../concurrently.ts";
import { isIgnored } from "../config/certificates_in.ts";
import { statFile } from "../x509/pem_file.ts";

/** The number of files that are looked at at once. */
const AT_ONCE = 32;

/**
 * Looks at the files of a folder and of the folders in it, as `certificatesIn()` reads them. No file is opened, so that
 * many certificates cost little while none changes. A folder in it that cannot be read counts as empty. Returns a digest
 * of names, inodes, sizes and times, and when the newest file was modified.
 */
export async function lookAtFolder(folder: string) {
  let changedAtMs = 0;
  const look = async (at: string, isTop: boolean): Promise<string> => {
    const entries = await entriesOf(at);
    const facts: string[] = [];
    await forEachConcurrently(entries, AT_ONCE, async ({ name }, index) => {
      const path = join(at, name);
      const stats = await statFile(path, { bigint: true }).catch(() => undefined);
      if (stats?.isDirectory()) {
        facts[index] = isTop ? await look(path, false).catch(() => "") : "";
        return;
      }
      changedAtMs = Math.max(changedAtMs, Number(stats?.mtimeMs ?? 0));
      const { dev, ino, size, mtimeNs, ctimeNs } = stats ?? {};
      facts[index] = JSON.stringify([path, ...[dev, ino, size, mtimeNs, ctimeNs].map(String)]);
    });
    return facts.join("");
  };
  return { digest: hash("sha256", await look(folder, true)), changedAtMs };
}

/**
 * Finds where the files of a folder may be replaced: the folder itself, the folders in it, and all symbolic links. Does
 * not look at files that are no links.
 */
export async function placesIn(folder: string) {
  const [folders, links]: [string[], string[]] = [[folder], []];
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name);
    const isLink = entry.isSymbolicLink();
    if (isLink) links.push(path);
    const isFolder = entry.isDirectory() || (isLink && await leadsToFolder(path));
    if (!isFolder) continue;
    folders.push(path);
    const entries = await entriesOf(path).catch(() => []);
    for (const inner of entries) if (inner.isSymbolicLink()) links.push(join(path, inner.name));
  }
  return { folders, links };
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter(({ name }) => !isIgnored(name)).sort((one, other) => one.name < other.name ? -1 : 1);
}

async function leadsToFolder(link: string): Promise<boolean> {
  return await stat(link).then((stats) => stats.isDirectory(), () => false);
}
