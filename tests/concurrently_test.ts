import { assert, assertEquals, assertRejects } from "@std/assert";
import test from "node:test";
import { forEachConcurrently } from "../src/concurrently.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("forEachConcurrently() handles each entry once, in their order and a few at once", async () => {
  const begun: string[] = [];
  let [running, most] = [0, 0];
  await forEachConcurrently(["a", "b", "c", "d", "e"], 2, async (entry, index) => {
    begun.push(`${index}${entry}`);
    most = Math.max(most, ++running);
    await nextTurn();
    running--;
  });
  assertEquals([begun, running, most], [["0a", "1b", "2c", "3d", "4e"], 0, 2]);
});

test("forEachConcurrently() rejects with the first error and begins no more calls", async () => {
  const begun: number[] = [];
  const error = await assertRejects(() =>
    forEachConcurrently([1, 2, 3, 4, 5, 6], 2, async (entry) => {
      begun.push(entry);
      await nextTurn();
      if (entry === 2) throw new Error("two");
      await nextTurn();
    }), Error);
  assertEquals(error.message, "two");
  for (let turn = 0; turn < 10; turn++) await nextTurn();
  assert(begun.length < 6, `${begun}`);
});
