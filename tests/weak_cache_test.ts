import { assertEquals, assertStrictEquals } from "@std/assert";
import test from "node:test";
import { WeakCache } from "../src/weak_cache.ts";
import { collectGarbage } from "./support/garbage.ts";

test("WeakCache returns the object that was set last", () => {
  const cache = new WeakCache<object>();
  const [one, other] = [{}, {}];
  assertEquals(cache.get("key"), undefined);
  assertStrictEquals(cache.set("key", one), one);
  assertStrictEquals(cache.set("key", one), one);
  assertStrictEquals(cache.get("key"), one);
  assertStrictEquals(cache.set("key", other), other);
  assertStrictEquals(cache.get("key"), other);
});

test("WeakCache keeps no object alive, and no object removes its successor", async () => {
  const cache = new WeakCache<object>();
  const successor = {};
  cache.set("replaced", {});
  cache.set("replaced", successor);
  cache.set("dropped", {});
  await collectGarbage();
  assertEquals(cache.get("dropped"), undefined);
  assertStrictEquals(cache.get("replaced"), successor);
});
