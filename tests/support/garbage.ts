import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { setTimeout as delay } from "node:timers/promises";

declare const Bun: { gc(force: true): void };

/** Collects all objects that nothing but weak references leads to. */
export async function collectGarbage(): Promise<void> {
  // Until the end of the turn, what a weak reference has led to is kept.
  await delay(1);
  if (process.versions["bun"]) {
    Bun.gc(true);
  } else {
    setFlagsFromString("--expose-gc");
    runInNewContext("gc")();
  }
  await delay(1);
}
