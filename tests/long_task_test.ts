import { assertEquals } from "@std/assert";
import test from "node:test";
import { LongTask } from "../src/long_task.ts";

function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

test("LongTask.pause() lets workers that wait continue in turns of their own", async () => {
  const task = new LongTask();
  let turn = 0;
  const turns: number[] = [];
  const count = setInterval(() => turn++, 0);
  const work = async () => {
    for (let piece = 0; piece < 2; piece++) {
      await task.pause();
      turns.push(turn);
      block(10);
    }
  };
  try {
    await Promise.all([work(), work(), work()]);
  } finally {
    clearInterval(count);
  }
  // All three have paused before the first of them did anything.
  assertEquals(new Set(turns.slice(3)).size, 3, `${turns}`);
});
