import { assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { namedServing } from "../../src/deno/internals.ts";

const isDeno = process.versions["deno"] !== undefined;

test("Deno[Deno.internal] has resolverSymbol and serveHttpOnListener (seen on 2.7.14, 2.8.0, 2.9.6)", () => {
  const { resolverSymbol, serveHttpOnListener } = namedServing() ?? {};
  const expected = isDeno ? ["symbol", "function"] : ["undefined", "undefined"];
  assertEquals([typeof resolverSymbol, typeof serveHttpOnListener], expected);
});
