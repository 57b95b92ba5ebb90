import { assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { runtimeName } from "./support/runtimes.ts";

test("the suite runs on the runtime that it says it runs on", () => {
  assertEquals(runtimeName(), process.env["TLS_RELOAD_RUNTIME"] || runtimeName());
});
