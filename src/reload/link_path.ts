import { lstat, readlink } from "node:fs/promises";
import { dirname, join, parse, sep } from "node:path";

/** Linux follows as many links on the way to one file. */
const MAX_LINKS = 40;

/**
 * The directories in which an entry may be replaced on the way to a file: that of each symbolic link, and that of the
 * file itself.
 *
 * @param path An absolute path.
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
    // Deno may be allowed to read the folder of the file, and none of those above it.
    return (error as Error).name === "NotCapable" ? "other" : "missing";
  }
}
