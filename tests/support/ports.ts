import { readdir, readFile, readlink } from "node:fs/promises";
import process from "node:process";

/** Such a test reads /proc to find ports that nobody was told of. */
export const ON_LINUX = { skip: process.platform === "linux" ? false : "needs /proc" };

const LISTEN = "0A";

/** The IPv4 ports that this very process listens on. */
export async function listeningPorts(): Promise<number[]> {
  const links = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  const own = new Set(links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]));
  const rows = (await readFile("/proc/self/net/tcp", "utf8")).trim().split("\n").map((row) => row.trim().split(/\s+/));
  return rows.filter((fields) => fields[3] === LISTEN && own.has(fields[9]))
    .map((fields) => Number.parseInt(fields[1]!.split(":")[1]!, 16));
}
