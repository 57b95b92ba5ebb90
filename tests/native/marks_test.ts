import { assert, assertEquals, assertThrows } from "@std/assert";
import test from "node:test";
import { Marks, QueuedMarks, UNMARKED } from "../../src/native/marks.ts";

test("Marks.take() gives values without an effect, and none twice", () => {
  const marks = new Marks(7);
  const taken = Array.from({ length: 1_000 }, () => marks.take());
  assertEquals(new Set(taken).size, 1_000);
  for (const mark of taken) assert(mark >= 2 ** 30 && mark < 2 ** 31);
});

test("Marks of two owners differ", () => {
  const all = [3, 4, 0x3fff].map((descriptor) => new Marks(descriptor)).flatMap((
    marks,
  ) => [marks.take(), marks.take()]);
  assertEquals(new Set(all).size, 6);
});

test("Marks.take() gives a released mark again, but not soon, and throws when none is left", () => {
  const marks = new Marks(7);
  const first = marks.take();
  marks.release(first);
  const rest = Array.from({ length: 0xffff }, () => marks.take());
  assert(!rest.includes(first));
  assertEquals(marks.take(), first);
  assertThrows(() => marks.take(), Error, "all of them are in use");
  marks.release(rest[9]!);
  assertEquals([marks.take(), marks.size], [rest[9]!, 0x1_0000]);
});

test("QueuedMarks keeps older marks until the queue was empty 10 ms after a newer one was set", () => {
  const queued = new QueuedMarks(1, 0);
  assertEquals(queued.all, [UNMARKED, 1]);
  queued.settle(0, 9);
  assertEquals(queued.all, [UNMARKED, 1]);
  queued.settle(3, 50);
  assertEquals(queued.all, [UNMARKED, 1]);
  queued.add(2, 100);
  queued.settle(0, 109);
  assertEquals(queued.all, [1, 2]);
  queued.settle(0, 110);
  assertEquals(queued.all, [2]);
});

test("QueuedMarks always has the previous mark beside the newest", () => {
  const queued = new QueuedMarks(1, 0);
  queued.settle(0, 10);
  queued.add(2, 20);
  assertEquals(queued.all, [1, 2]);
});
