import { assertEquals } from "@std/assert";
import { existsSync } from "node:fs";
import process from "node:process";
import test from "node:test";
import { runHere } from "../support/root_system.ts";

const { deno, bun } = process.versions;
const NO_UNDICI = (deno || bun || !existsSync(new URL("../../node_modules/undici", import.meta.url))) &&
  "undici is of Node, and has to be installed";
const NO_SIGNALS = process.platform === "win32" && "Windows sends no SIGHUP";

test("examples/roots_connect.ts", async () => {
  assertEquals(
    await runHere("examples/roots_connect.ts"),
    [
      "1 root",
      "tls.connect(): authorized true",
      "https.Agent: 200 hello from the company",
      "",
    ].join("\n"),
  );
});

test("examples/roots_refresh.ts", { skip: NO_SIGNALS }, async () => {
  const [first, renewed, refreshed] = (await runHere("examples/roots_refresh.ts")).split("\n");
  assertEquals([first, refreshed], ["at first: 200", "after a refresh: 200"]);
  assertEquals(/: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE)$/.test(renewed!), true, renewed);
});

test("examples/roots_deno.ts", { skip: !deno && "an example of Deno" }, async () => {
  assertEquals(await runHere("examples/roots_deno.ts"), "Deno fetch(): 200 hello from the company\n");
});

test("examples/roots_bun.ts", { skip: !bun && "an example of Bun" }, async () => {
  assertEquals(await runHere("examples/roots_bun.ts"), "Bun fetch(): 200 hello from the company\n");
});

test("examples/roots_undici.ts", { skip: NO_UNDICI }, async () => {
  assertEquals(await runHere("examples/roots_undici.ts"), "undici: 200 hello from the company\n");
});
