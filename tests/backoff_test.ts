import { assert, assertEquals } from "@std/assert";
import test from "node:test";
import { Backoff, retryPauseMs } from "../src/backoff.ts";
import { MAX_MS } from "../src/durations.ts";

const pauses = (backoff: Backoff, count: number) => Array.from({ length: count }, () => backoff.nextPauseMs());

test("Backoff doubles the pause from the first to the longest, and begins again after a reset", () => {
  const backoff = new Backoff({ firstMs: 50, lastMs: 300 });
  assertEquals(pauses(backoff, 5), [50, 100, 200, 300, 300]);
  backoff.reset();
  assertEquals(pauses(backoff, 2), [50, 100]);
});

test("Backoff keeps one pause where the first is the longest or is above it", () => {
  assertEquals(pauses(new Backoff({ firstMs: 50, lastMs: 50 }), 3), [50, 50, 50]);
  assertEquals(pauses(new Backoff({ firstMs: 50, lastMs: 20 }), 2), [20, 20]);
});

test("Backoff varies a pause by at most its jitter, in both directions", () => {
  const backoff = new Backoff({ firstMs: 1_000, lastMs: 1_000, jitter: 0.2 });
  const all = pauses(backoff, 500);
  assert(all.every((ms) => ms >= 800 && ms <= 1_200));
  assert(Math.min(...all) < 850 && Math.max(...all) > 1_150);
});

test("retryPauseMs() is never longer than a timer can wait, however many retries there were", () => {
  for (const retries of [0, 40, 2_000]) {
    assertEquals(retryPauseMs(retries, { firstMs: Infinity, lastMs: Infinity, jitter: 0.5 }), MAX_MS);
  }
  assertEquals(retryPauseMs(5_000, { firstMs: 1, lastMs: Infinity }), MAX_MS);
  assertEquals(retryPauseMs(5_000, { firstMs: 1, lastMs: 30_000 }), 30_000);
});
