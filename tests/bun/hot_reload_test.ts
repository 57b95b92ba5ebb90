import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { issuePair } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { freePort, ON_LINUX } from "../support/ports.ts";

const ON_BUN = process.versions["bun"] ? ON_LINUX : { skip: "needs Bun" };
const PROGRAM = new URL("hot_program.ts", import.meta.url);

test("serve() keeps its port and its connections when bun --hot evaluates the program again", ON_BUN, async () => {
  const folder = await mkdtemp(join(fileURLToPath(new URL(".", import.meta.url)), ".hot-"));
  const source = (await readFile(PROGRAM, "utf8")).replaceAll('"../../', '"../../../');
  const [program, pair] = [join(folder, "program.ts"), join(folder, "pair.json")];
  const write = async (version: string) => {
    await writeFile(pair, JSON.stringify(await issuePair(version)));
    await writeFile(program, source.replaceAll("VERSION", version));
  };
  await write("first");
  const child = spawn(process.execPath, ["--hot", program], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, TLS_RELOAD_PAIR: pair, TLS_RELOAD_PORT: String(await freePort()) },
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  try {
    const [port, mechanism, version] = ((await lines.next()).value as string).split(" ");
    assertEquals([mechanism, version], ["handoff", "first"]);
    const kept = await HttpConnection.open(Number(port));
    assertEquals((await kept.ask("/")).text, "first");
    await write("second");
    assertEquals((await lines.next()).value, `${port} handoff second`);
    const fresh = await HttpConnection.open(Number(port));
    assertEquals((await fresh.ask("/")).text, "second");
    assertEquals(fresh.fingerprint256 === kept.fingerprint256, false);
    assertEquals((await kept.ask("/")).text, "second");
    for (const connection of [kept, fresh]) connection.close();
  } finally {
    child.kill();
    await rm(folder, { recursive: true });
  }
});
