import { assertEquals } from "@std/assert";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { EarliestTimer } from "../src/earliest_timer.ts";

/** Far longer than the moments below, and shorter than those that must not count. */
const PATIENCE_MS = 5_000;

/** A timer, and its next call; the timer itself keeps no process running. */
function started() {
  let call = () => {};
  const timer = new EarliestTimer(() => call());
  const next = async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    call = () => resolve("called");
    const patience = new AbortController();
    const waited = delay(PATIENCE_MS, "not called", { signal: patience.signal }).catch(() => "");
    return await Promise.race([promise, waited]).finally(() => patience.abort());
  };
  return { timer, next };
}

test("EarliestTimer calls at the earliest of the moments that it was asked for, and can be asked again", async () => {
  const { timer, next } = started();
  for (let round = 0; round < 2; round++) {
    const called = next();
    for (const ms of [60_000, 1, Infinity, 30_000]) timer.schedule(ms);
    assertEquals(await called, "called");
  }
});

test("EarliestTimer.cancel() drops the call that is due, and a later one can be asked for", async () => {
  const { timer, next } = started();
  const called = next();
  timer.schedule(1);
  timer.cancel();
  assertEquals(await Promise.race([called, delay(20, "silence")]), "silence");
  timer.schedule(1);
  assertEquals(await called, "called");
});
