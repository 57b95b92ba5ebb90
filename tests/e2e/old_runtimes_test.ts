import { assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { issueServer } from "../support/certificates.ts";
import { startChildServer } from "../support/child_server.ts";
import { HttpConnection } from "../support/http.ts";
import { installOldRuntimes } from "../support/runtimes.ts";

/** Installed by Deno, and the same whoever asks. */
const ON_DENO = { skip: process.versions["deno"] ? false : "is run once, by Deno" };

for (const name of ["bun", "deno"] as const) {
  for (const mechanism of ["handoff", "front"] as const) {
    test(`serve() swaps and keeps connections on an old ${name} (${mechanism})`, ON_DENO, async () => {
      const runtime = (await installOldRuntimes())[name];
      const [first, second] = [await issueServer("first"), await issueServer("second")];
      const server = await startChildServer(runtime, [first, second], { mechanism });
      const kept = await HttpConnection.open(server.port);
      await server.tell("swap");
      const fresh = await HttpConnection.open(server.port);
      assertEquals([kept.fingerprint256, fresh.fingerprint256], [first.fingerprint256, second.fingerprint256]);
      for (const connection of [kept, fresh]) {
        assertEquals((await connection.ask("/")).text, "answer");
        connection.close();
      }
      assertEquals(server.errors, []);
      await server.close();
    });
  }
}
