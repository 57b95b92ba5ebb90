import { assertEquals, assertStringIncludes } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { runHere } from "../support/root_system.ts";

const NO_SIGNALS = process.platform === "win32" && "Windows has no SIGHUP";
const NO_SHARED_PORT = process.platform !== "linux" && "reusePort shares the load on Linux alone";

test("examples/reload_certbot.ts", { skip: NO_SIGNALS }, async () => {
  const printed = await runHere("examples/reload_certbot.ts");
  assertEquals(printed.split("\n").slice(0, 2), ["generation 0", "generation 1"]);
  assertStringIncludes(printed, "\ntls_reload_in_sync 1\n");
});

test("examples/reload_cluster.ts: threads and processes on one port all serve what was renewed", {
  skip: NO_SHARED_PORT,
}, async () => {
  assertEquals(
    await runHere("examples/reload_cluster.ts"),
    "4 workers serve the first certificate\n4 workers serve the second\n",
  );
});
