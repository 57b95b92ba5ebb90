import { lstat, readlink } from "node:fs/promises";
import { dirname, join, parse, sep } from "node:path";

/** The limit of links on the way to one file on Linux. */
const MAX_LINKS = 40;

/**
 * Finds the directories whose entries lead to a file: the directory of each symbolic link on the way, and the directory
 * of the file itself. The path is absolute.
 */
export async function directoriesOf(path: string): Promise<Set<string>> {
  const directories = new Set<string>();
  let { root: at } = parse(path);
  const names = path.slice(at.length).split(sep);
  for (let links = 0; names.length > 0 && links <= MAX_LINKS;) {
    const name = names.shift()!;
    if (name === "..") at = dirname(at);
    if (["", ".", ".."].includes(name)) continue;
    const entry = join(at, name);
    const kind = await kindOf(entry);
    if (kind !== "other" || names.length === 0) directories.add(at);
    if (kind === "missing") break;
    if (kind === "link") {
      links++;
      const target = await readlink(entry).catch(() => "");
      names.unshift(...target.split(sep));
      at = parse(target).root || at;
    } else at = entry;
  }
  return directories;
}

async function kindOf(entry: string): Promise<"link" | "missing" | "other"> {
  try {
    return (await lstat(entry)).isSymbolicLink() ? "link" : "other";
  } catch (error) {
    // Deno may have permission for the folder of the file, but not for the folders above.
    return (error as Error).name === "NotCapable" ? "other" : "missing";
  }
}
