import { assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import process from "node:process";
import test from "node:test";
import { promisify } from "node:util";
import { rotate } from "../support/rotation.ts";

const run = promisify(execFile);
const runArgs = process.versions["deno"] ? ["run", "-A"] : [];

/** How long the swaps go on. A longer run: TLS_RELOAD_SECONDS=10. */
const SECONDS = Number(process.env["TLS_RELOAD_SECONDS"] ?? 3);
/** On Bun there is nothing that an https.Server could be attached with. */
const SERVERS = process.versions["bun"] ? ["acceptor"] : ["acceptor", "https"];

for (const server of SERVERS) {
  test(
    `HTTPS (${server}) drops nothing and serves nothing stale in swaps under load`,
    { timeout: 110_000 },
    async () => {
      const report = await rotate({
        command: [process.execPath, ...runArgs],
        server,
        seconds: SECONDS,
        atLeast: { swaps: 20, connections: 100 },
        onServing: async ({ port, caPath }) => {
          for (let count = 0; count < 20; count++) {
            const url = `https://localhost:${port}/`;
            const resolve = `localhost:${port}:127.0.0.1`;
            const trust = ["--cacert", caPath, "--resolve", resolve];
            const { stdout } = await run("curl", ["-sS", ...trust, "--data", "from curl", url]);
            assertEquals(stdout, "from curl");
          }
        },
      });
      assertEquals(report.failures, []);
      assertEquals(report.stale, 0);
      assertEquals(report.alive, report.longLived);
    },
  );
}
