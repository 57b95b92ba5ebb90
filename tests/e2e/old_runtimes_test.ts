import { assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import process from "node:process";
import test from "node:test";
import { promisify } from "node:util";
import { issueServer } from "../support/certificates.ts";
import { startChildServer } from "../support/child_server.ts";
import { HttpConnection } from "../support/http.ts";
import { installOldRuntimes } from "../support/runtimes.ts";

/** Installed by Deno, and the same whoever asks. */
const ON_DENO = { skip: process.versions["deno"] ? false : "is run once, by Deno" };
const OLDEST = { bun: "bun 1.3.0", deno: "deno 2.8.0" };
const SWAPS = 10;

for (const name of ["bun", "deno"] as const) {
  for (const mechanism of ["handoff", "front"] as const) {
    test(`serve() drops nothing and serves nothing stale on ${OLDEST[name]} (${mechanism})`, ON_DENO, async () => {
      const runtime = (await installOldRuntimes())[name];
      assertEquals(runtime.name, OLDEST[name]);
      const issued = [await issueServer("first"), await issueServer("second")] as const;
      const server = await startChildServer(runtime, issued, { mechanism });
      const kept = await HttpConnection.open(server.port);
      let isOver = false;
      const visits = Array.from({ length: 4 }, async () => {
        while (!isOver) await visit(server.port);
      });
      for (let swap = 1; swap <= SWAPS; swap++) {
        await server.tell("swap");
        assertEquals(await visit(server.port), issued[swap % 2]!.fingerprint256);
      }
      isOver = true;
      await Promise.all(visits);
      assertEquals(kept.fingerprint256, issued[0].fingerprint256);
      assertEquals((await kept.ask("/")).text, "answer");
      kept.close();
      assertEquals(server.errors, []);
      await server.close();
    });
  }
}

async function visit(port: number): Promise<string> {
  const connection = await HttpConnection.open(port);
  assertEquals((await connection.ask("/")).text, "answer");
  connection.close();
  return connection.fingerprint256;
}

test("proveTlsConfig() throws UNSUPPORTED on bun 1.3.0, which makes no handshake in memory", ON_DENO, async () => {
  const { bun } = await installOldRuntimes();
  const { cert, key } = await issueServer("old");
  const module = new URL("../../mod.ts", import.meta.url).pathname;
  const program = `import { proveTlsConfig, TlsConfig } from ${JSON.stringify(module)};
    await proveTlsConfig(new TlsConfig(${
    JSON.stringify({ cert, key })
  })).catch((error) => console.log(error.message));`;
  const { stdout } = await promisify(execFile)(bun.path, ["-e", program]);
  const reason = "it needs Bun 1.4.0 or later; update, or use new TlsConfig(): serve() proves what it serves";
  assertEquals(stdout.trim(), `Cannot prove TLS config on Bun 1.3.0: ${reason}`);
});
