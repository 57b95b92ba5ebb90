import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** What was found in a folder. */
export interface FolderContent {
  /** A digest of the names, inodes, sizes and times of all files. */
  readonly digest: string;
  /** When the newest file was modified, as milliseconds since 1970. */
  readonly changedAtMs: number;
  /** The folder itself and the folders in it. */
  readonly folders: readonly string[];
  /** The symbolic links among the files and folders. */
  readonly links: readonly string[];
}

/**
 * Looks at the files of a folder and of the folders in it, as `certificatesIn()` reads them. No file is opened, so that
 * many certificates cost little while none changes. Names that begin with a dot are ignored.
 *
 * @param folder The folder, as an absolute path.
 */
export async function lookAtFolder(folder: string): Promise<FolderContent> {
  const hash = createHash("sha256");
  const [folders, links]: [string[], string[]] = [[folder], []];
  let changedAtMs = 0;
  const look = async (at: string, isTop: boolean) => {
    const entries = await readdir(at, { withFileTypes: true });
    entries.sort((one, other) => one.name < other.name ? -1 : 1);
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const path = join(at, entry.name);
      if (entry.isSymbolicLink()) links.push(path);
      const stats = await stat(path, { bigint: true }).catch(() => undefined);
      if (stats?.isDirectory()) {
        if (!isTop) continue;
        folders.push(path);
        await look(path, false);
        continue;
      }
      changedAtMs = Math.max(changedAtMs, Number(stats?.mtimeMs ?? 0));
      const { dev, ino, size, mtimeNs, ctimeNs } = stats ?? {};
      hash.update(JSON.stringify([path, ...[dev, ino, size, mtimeNs, ctimeNs].map(String)]));
    }
  };
  await look(folder, true);
  return { digest: hash.digest("hex"), changedAtMs, folders, links };
}
