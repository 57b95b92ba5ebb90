import { assert, assertEquals, assertRejects } from "@std/assert";
import test from "node:test";
import { TlsReloadError } from "../../mod.ts";
import { KernelError } from "../../src/kernel/kernel.ts";
import type { FakeConnection } from "../support/fake_kernel.ts";
import { EVENTS, SECOND, SECOND_WITHOUT_TRUST, World } from "../support/handoff_world.ts";

interface Plan {
  /** The operations that fail, counted from the first swap. */
  readonly fails?: readonly number[];
  /** The operation before which a client connects. */
  readonly connectsAt?: number;
  /** What happens after so many turns of promises, counted from the first swap. */
  readonly event?: { readonly after: number; readonly what: typeof EVENTS[number] };
  /** Whether the swap removes an authority. */
  readonly takesTrustAway: boolean;
}

async function run({ fails = [], connectsAt, event, takesTrustAway }: Plan): Promise<World> {
  const world = new World();
  const { kernel, runtime, state } = world;
  await world.open();
  const kept = world.connect();
  runtime.acceptAll();
  assertEquals(kept.servedBy, 0);

  let early: FakeConnection | undefined;
  kernel.before = (operation) => {
    world.check(`at ${operation}`);
    const at = ++world.operations;
    if (at === connectsAt) early = world.connect();
    if (fails.includes(at)) throw new KernelError(operation, "it was told to fail");
  };
  state.swap(takesTrustAway ? SECOND_WITHOUT_TRUST : SECOND);
  const fresh = world.connect();
  if (event) {
    for (let turn = 0; turn < event.after; turn++) await undefined;
    world.happen(event.what);
  }
  const isClosed = event?.what === "close" || event?.what === "destroy";
  const hasDied = event?.what.endsWith("dies") ?? false;
  await world.until(() => fresh.servedBy !== undefined || fresh.isReset === true, "an answer");

  if (!isClosed) {
    if (fresh.isReset) assert(hasDied || fails.length > 0, "a connection was lost");
    else if (fresh.servedBy === 0) {
      assert(!takesTrustAway, "a connection got in on old trust");
      assert(world.errors.length > 0, "a connection was served the old certificate without an error");
    }
    // After 100 ms the next attempt begins.
    await world.newestServes();
    if (!kept.isReset) assert(kernel.table.has(kept.descriptor!), "a kept connection was lost");
    else assert(takesTrustAway && fails.length > 0, "a kept connection was closed");
    if (early) assert(early.servedBy !== undefined, "a connection that came in the middle was lost");
    for (const { isRunning, descriptor, event } of runtime.servers) {
      if (!isRunning || fails.length > 1) continue;
      assertEquals(kernel.registrations([descriptor]), [[event]], "a running server has lost its registration");
    }
  }
  for (const connection of [kept, fresh, early]) if (connection) kernel.disconnect(connection);
  if (world.reused !== undefined) kernel.close(world.reused);
  kernel.before = () => {};
  world.handoff.close();
  let isFinished = false;
  world.handoff.finished.then(() => isFinished = true);
  await world.until(() => isFinished, "finished");
  assertEquals(world.flaws, []);
  assertEquals(runtime.servers.filter(({ isRunning }) => isRunning).length, 0, "a server was left running");
  assertEquals([...kernel.table.keys()], [world.dummy], "a descriptor was left open");
  assertEquals([kernel.epoll.length, world.marks.size], [0, 0]);
  for (const error of world.errors) {
    assert(error instanceof TlsReloadError || hasDied, `not a typed error: ${error}`);
  }
  return world;
}

/** Runs plans at the same time: most of theirs is waiting for a retry. */
async function runAll(plans: readonly Plan[]): Promise<World[]> {
  const worlds: World[] = [];
  const failures: string[] = [];
  for (let at = 0; at < plans.length; at += 64) {
    await Promise.all(
      plans.slice(at, at + 64).map(async (plan) => {
        try {
          worlds.push(await run(plan));
        } catch (error) {
          failures.push(`${JSON.stringify(plan)}: ${(error as Error).message}`);
        }
      }),
    );
  }
  assertEquals(failures, []);
  return worlds;
}

const NUMBERS = (count: number) => Array.from({ length: count }, (_, at) => at + 1);
const WAYS = [false, true];

test("Handoff hands over without an error, and every operation of that is seen by these tests", async () => {
  for (const world of await runAll(WAYS.map((takesTrustAway) => ({ takesTrustAway })))) {
    assertEquals(world.errors, []);
    assert(world.operations > 8 && world.operations < 40, `${world.operations} operations`);
  }
});

test("Handoff serves the newest in the end, whichever operation fails, and loses no connection", async () => {
  const plans = WAYS.flatMap((takesTrustAway) => NUMBERS(24).map((at) => ({ fails: [at], takesTrustAway })));
  const worlds = await runAll(plans);
  assert(worlds.filter(({ errors }) => errors.length > 0).length >= 12);
});

test("Handoff serves the newest in the end, whichever two operations fail", async () => {
  const plans = WAYS.flatMap((takesTrustAway) =>
    NUMBERS(20).flatMap((first) =>
      NUMBERS(20).filter((second) => second > first).map((second) => ({ fails: [first, second], takesTrustAway }))
    )
  );
  await runAll(plans);
});

test("Handoff serves a connection that comes before any operation", async () => {
  const plans = WAYS.flatMap((takesTrustAway) => NUMBERS(24).map((connectsAt) => ({ connectsAt, takesTrustAway })));
  await runAll(plans);
});

for (const what of EVENTS) {
  test(`Handoff holds when between any two turns, with and without a failure, this happens: ${what}`, async () => {
    const plans = WAYS.flatMap((takesTrustAway) =>
      NUMBERS(24).flatMap((turn) =>
        [[], [3], [5], [8], [9], [10], [11], [12], [13]].map((fails) => ({
          event: { after: turn - 1, what },
          fails,
          takesTrustAway,
        }))
      )
    );
    await runAll(plans);
  });
}

test("Handoff.open() leaves nothing open, whichever operation fails", async () => {
  for (const at of NUMBERS(6)) {
    const world = new World();
    world.kernel.before = (operation) => {
      if (++world.operations === at) throw new KernelError(operation);
    };
    const isOver = await world.open().then(() => true, () => false);
    if (isOver) {
      world.handoff.destroy();
      await world.handoff.finished;
    }
    assertEquals([...world.kernel.table.keys()], [world.dummy], `operation ${at}`);
    assertEquals(world.marks.size, 0, `operation ${at}`);
  }
});

test("Handoff.open() rejects with the error of the proof, and never listens", async () => {
  const world = new World();
  world.runtime.beforeProof = () => {
    assertEquals(world.connect().isReset, true);
    throw new TlsReloadError("CONFIG_UNUSABLE", "no");
  };
  await assertRejects(() => world.open(), TlsReloadError, "no");
  assertEquals([...world.kernel.table.keys()], [world.dummy]);
});
