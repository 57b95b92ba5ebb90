import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";
import process from "node:process";

/** Such a test reads /proc to find ports that nobody was told of. */
export const ON_LINUX = { skip: process.platform === "linux" ? false : "needs /proc" };

const [LISTEN, ESTABLISHED] = ["0A", "01"];

/** What the kernel lists of the TCP sockets over IPv4. */
async function sockets(): Promise<{ state: string; port: number; remotePort: number; inode: string }[]> {
  const rows = (await readFile("/proc/self/net/tcp", "utf8")).trim().split("\n").slice(1);
  return rows.map((row) => {
    const [, local = "", remote = "", state = "", , , , , , inode = ""] = row.trim().split(/\s+/);
    const portOf = (address: string) => Number.parseInt(address.split(":")[1]!, 16);
    return { state, port: portOf(local), remotePort: portOf(remote), inode };
  });
}

/** The IPv4 ports that this very process listens on. */
export async function listeningPorts(): Promise<number[]> {
  const links = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  const own = new Set(links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]));
  const ports = (await sockets()).filter(({ state, inode }) => state === LISTEN && own.has(inode))
    .map(({ port }) => port);
  // The list is read in parts, and what moves between two of them is read twice.
  return [...new Set(ports)];
}

/** The ports that connections to a port of this machine come from. */
export async function connectedFrom(to: number): Promise<number[]> {
  const ports = (await sockets()).filter(({ state, remotePort }) => state === ESTABLISHED && remotePort === to)
    .map(({ port }) => port);
  return [...new Set(ports)];
}

/**
 * A port that is free at this moment, for a program whose port is fixed in its text. It is none of those that systems
 * give to outgoing connections, each of which can block its port before the program listens, and a minute longer.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(() => true, () => false);
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
