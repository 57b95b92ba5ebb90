// Connections that are open and do nothing.
import { fileURLToPath } from "node:url";
import type { Bench } from "./bench.ts";
import { firstLine, spawnChild, stopChild } from "./child.ts";

const CLIENT = fileURLToPath(new URL("../clients/idle.ts", import.meta.url));

/** Holds so many connections open, which have been answered once, as long as it is used. */
export async function hold<Result>(
  { runtimes: { node }, notes }: Bench,
  name: string,
  port: number,
  count: number,
  use: () => Promise<Result>,
): Promise<Result> {
  const client = spawnChild(node.path, [...node.runArgs, CLIENT, String(port), String(count)]);
  try {
    const open = Number(await firstLine(client));
    if (open !== count) notes.add(`${name}: ${open} of ${count} connections stayed open`);
    return await use();
  } finally {
    await stopChild(client);
  }
}
