import { assertEquals, assertStrictEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { WeakCache } from "../src/weak_cache.ts";

declare const Bun: { gc(force: true): void };

function collectGarbage(): void {
  if (process.versions["bun"]) return Bun.gc(true);
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

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
  await delay(1);
  collectGarbage();
  await delay(1);
  assertEquals(cache.get("dropped"), undefined);
  assertStrictEquals(cache.get("replaced"), successor);
});
