import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import test from "node:test";
import { SingleFlight } from "../src/single_flight.ts";

/** A flight whose runs end when the test says so. */
function controlled() {
  const runs: { resolve: (value: string) => void; reject: (error: Error) => void }[] = [];
  const flight = new SingleFlight(() => new Promise<string>((resolve, reject) => runs.push({ resolve, reject })));
  return { flight, runs };
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await undefined;
};

test("SingleFlight.run() starts the operation before it returns, and again after it has ended", async () => {
  const { flight, runs } = controlled();
  for (const name of ["first", "second"]) {
    const result = flight.run();
    assertEquals(runs.length, name === "first" ? 1 : 2);
    runs.at(-1)!.resolve(name);
    assertEquals(await result, name);
  }
});

test("SingleFlight.run() shares the next run among all calls during a run", async () => {
  const { flight, runs } = controlled();
  const first = flight.run();
  const [second, third] = [flight.run(), flight.run()];
  assertStrictEquals(second, third);
  await turns(20);
  assertEquals(runs.length, 1);
  runs[0]!.resolve("first");
  assertEquals(await first, "first");
  await turns(20);
  assertEquals(runs.length, 2);
  const fourth = flight.run();
  runs[1]!.resolve("second");
  assertEquals([await second, await third], ["second", "second"]);
  await turns(20);
  runs[2]!.resolve("third");
  assertEquals(await fourth, "third");
  assertEquals(runs.length, 3);
});

test("SingleFlight.run() never runs two operations at once, in any turn", async () => {
  for (let count = 0; count < 12; count++) {
    let [running, most, begun] = [0, 0, 0];
    const flight = new SingleFlight(async () => {
      const id = ++begun;
      most = Math.max(most, ++running);
      await undefined;
      running--;
      return id;
    });
    const calls = [flight.run(), flight.run()];
    await turns(count);
    const before = begun;
    const late = flight.run();
    assert(await late > before, `after ${count} turns`);
    await Promise.all(calls);
    assertEquals(most, 1, `after ${count} turns`);
    await flight.settled();
    assertEquals(running, 0);
  }
});

test("SingleFlight.run() joins the run that waits when it is called by a caller of the run that has just ended", async () => {
  const { flight, runs } = controlled();
  const again = flight.run().then(() => flight.run());
  const next = flight.run();
  runs[0]!.resolve("first");
  await turns(20);
  assertEquals(runs.length, 2);
  runs[1]!.resolve("second");
  assertEquals([await again, await next], ["second", "second"]);
});

test("SingleFlight.run() rejects the callers of a failed run, and starts the next run", async () => {
  const { flight, runs } = controlled();
  const [first, second] = [flight.run(), flight.run()];
  runs[0]!.reject(new Error("no"));
  await assertRejects(() => first, Error, "no");
  await turns(20);
  runs[1]!.resolve("second");
  assertEquals(await second, "second");
  const failing = new SingleFlight(() => {
    throw new Error("at once");
  });
  await assertRejects(() => failing.run(), Error, "at once");
});

test("SingleFlight.settled() waits for the current run and the next one, whatever their outcome", async () => {
  const { flight, runs } = controlled();
  await flight.settled();
  const calls = [flight.run(), flight.run()];
  let isSettled = false;
  const settled = flight.settled().then(() => isSettled = true);
  runs[0]!.reject(new Error("no"));
  await assertRejects(() => calls[0]!, Error, "no");
  await turns(20);
  assertEquals(isSettled, false);
  runs[1]!.resolve("done");
  await settled;
  assertEquals(await calls[1], "done");
});
