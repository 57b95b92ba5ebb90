import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { once } from "node:events";
import process from "node:process";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type DrainOptions, TlsReloadError } from "../../mod.ts";
import type { DrainProgress } from "../../src/accept/drain_tally.ts";
import { sharedBy } from "../../src/accept/tls_state.ts";
import type { FakeServer } from "../support/fake_kernel.ts";
import type { ServingOptions } from "../../src/native/serving_options.ts";
import { FIRST, SECOND, SECOND_WITHOUT_TRUST, THIRD, World } from "../support/handoff_world.ts";

async function opened(drain?: DrainOptions, options: ServingOptions = {}): Promise<World> {
  const world = new World(drain);
  await world.open(options);
  return world;
}

async function finished(world: World): Promise<void> {
  let isFinished = false;
  world.handoff.finished.then(() => isFinished = true);
  await world.until(() => isFinished, "finished");
}

async function close(world: World): Promise<void> {
  world.handoff.destroy();
  await finished(world);
  assertEquals(world.flaws, []);
}

const generations = ({ handoff }: World) => handoff.generations.map(({ generation }) => generation);
const codes = ({ errors }: World) => errors.map((error) => (error as TlsReloadError).code);

test("Handoff lets the previous server serve again when a proof fails, and retries beside it", async () => {
  const world = await opened();
  let proofs = 0;
  world.runtime.beforeProof = () => {
    // The first proof keeps connections waiting; the retry does not.
    assertEquals(world.holders.length, ++proofs === 1 ? 0 : 1);
    if (proofs < 3) throw new TlsReloadError("CONFIG_UNUSABLE", "no");
  };
  world.state.swap(SECOND);
  const waiting = world.connect();
  await world.until(() => waiting.servedBy !== undefined, "an answer");
  assertEquals([waiting.servedBy, codes(world)], [0, ["CONFIG_UNUSABLE"]]);
  await world.newestServes();
  // Reported once, however often it fails.
  assertEquals([proofs, codes(world)], [3, ["CONFIG_UNUSABLE"]]);
  await close(world);
});

test("Handoff serves on when onTlsError throws or rejects", async () => {
  const wrong = [
    () => {
      throw new Error("onTlsError throws");
    },
    () => Promise.reject(new Error("onTlsError rejects")),
  ];
  for (const onTlsError of wrong) {
    const world = await opened(undefined, { onTlsError });
    let proofs = 0;
    world.runtime.beforeProof = () => {
      if (++proofs === 1) throw new TlsReloadError("CONFIG_UNUSABLE", "no");
    };
    const warned = once(process, "warning");
    world.state.swap(SECOND);
    assertMatch((await warned)[0].message, /^onTlsError (?:throws|rejects)$/);
    await world.newestServes();
    await close(world);
  }
});

test("Handoff keeps connections waiting while nobody may serve them: an authority was removed", async () => {
  const world = await opened();
  let proofs = 0;
  world.runtime.beforeProof = () => {
    assertEquals(world.holders, []);
    if (++proofs < 4) throw new TlsReloadError("CONFIG_UNUSABLE", "no");
  };
  world.state.swap(SECOND_WITHOUT_TRUST);
  const waiting = world.connect();
  await world.until(() => waiting.servedBy !== undefined, "an answer");
  assertEquals([waiting.servedBy, proofs], [1, 4]);
  await close(world);
});

test("Handoff limits how long connections wait, unless trust was taken away", async () => {
  for (const [next, expected] of [[SECOND, 0], [SECOND_WITHOUT_TRUST, 1]] as const) {
    const world = await opened();
    const proof = Promise.withResolvers<void>();
    world.runtime.beforeProof = () => proof.promise;
    world.state.swap(next);
    const waiting = world.connect();
    if (expected === 1) setTimeout(() => proof.resolve(), 1_300);
    await world.until(() => waiting.servedBy !== undefined, "an answer");
    assertEquals(waiting.servedBy, expected);
    proof.resolve();
    assertEquals(codes(world), expected === 0 ? ["STALE_CERTIFICATE"] : []);
    await world.newestServes();
    await close(world);
  }
});

test("Handoff starts one server for many swaps of one turn, and never lets one serve that is not the newest", async () => {
  const world = await opened();
  const before = world.runtime.servers.length;
  for (let swap = 0; swap < 500; swap++) world.state.swap(swap % 2 ? SECOND : THIRD);
  const waiting = world.connect();
  await world.until(() => waiting.servedBy !== undefined, "an answer");
  assertEquals([waiting.servedBy, world.runtime.servers.length - before], [500, 1]);

  // The proof of one is overtaken.
  world.runtime.beforeProof = ({ acceptor }) => {
    if (acceptor.generation === 501) { for (let swap = 0; swap < 10; swap++) world.state.swap(SECOND); }
  };
  world.state.swap(THIRD);
  const next = world.connect();
  await world.until(() => next.servedBy !== undefined, "an answer");
  assertEquals([next.servedBy, world.runtime.servers.length - before], [511, 3]);
  await close(world);
});

test("Handoff serves while every proof is overtaken by the next swap", async () => {
  const world = await opened();
  world.runtime.beforeProof = async () => {
    await delay(5);
    world.state.swap(SECOND);
  };
  world.state.swap(THIRD);
  const waiting = world.connect();
  await world.until(() => waiting.servedBy !== undefined, "an answer");
  assert(waiting.servedBy! > 1);
  world.runtime.beforeProof = () => {};
  await close(world);
});

test("Handoff refuses a swap without 8 free descriptors, and changes nothing", async () => {
  for (let free = 0; free <= 8; free++) {
    const world = await opened();
    world.kernel.limit = Math.max(...world.kernel.table.keys()) + 1 + free;
    const gaps = world.kernel.limit - 3 - world.kernel.table.size - free;
    for (let gap = 0; gap < gaps; gap++) world.kernel.newSocket();
    if (free < 8) {
      assertThrows(() => world.state.swap(SECOND), TlsReloadError, "8 free file descriptors");
      assertEquals([world.state.generation, world.holders.length, world.runtime.servers.length], [0, 1, 2]);
    } else {
      world.state.swap(SECOND);
    }
    world.kernel.limit = 256;
    await world.newestServes();
    assertEquals(world.errors, []);
    await close(world);
  }
});

test("Handoff replaces a server that ended by itself, with pauses, and reports its error once", async () => {
  const world = await opened();
  world.holders[0]!.die();
  world.kernel.limit = 0;
  await world.until(() => world.errors.length > 1, "an error");
  world.kernel.limit = 256;
  await world.newestServes();
  assertEquals(world.errors.length, 2);
  assertEquals(world.handoff.address.port, 443);
  // A swap while none listens ends with the newest too.
  world.holders[0]!.die();
  world.state.swap(SECOND);
  await world.newestServes();
  await close(world);
});

test("Handoff begins with the shortest pause again after a success", async () => {
  const world = await opened();
  for (let round = 0; round < 4; round++) {
    world.holders[0]!.die();
    world.kernel.limit = 0;
    await delay(150);
    world.kernel.limit = 256;
    const begin = performance.now();
    await world.newestServes();
    assert(performance.now() - begin < 1_000, `round ${round} takes ${performance.now() - begin} ms`);
  }
  await close(world);
});

test("Handoff takes the socket from a server that gave up accepting, with its queue", async () => {
  const world = await opened();
  const [serving] = world.holders;
  const kept = world.connect();
  world.runtime.acceptAll();
  const queued = world.connect(); // in the turn that the server gives up
  // Without a descriptor that fails at first, and is retried.
  world.kernel.limit = 0;
  serving!.giveUp();
  await delay(20);
  world.kernel.limit = 256;
  await world.until(() => queued.servedBy !== undefined, "an answer");
  assert(!serving!.connections.includes(queued));
  assertEquals([kept.isReset, world.handoff.servers.length], [undefined, 2]);
  for (const connection of [kept, queued]) world.kernel.disconnect(connection);
  await world.until(() => serving!.isStopped, "it is stopped");

  // While its successor fails its proof, too.
  world.runtime.beforeProof = () => {
    throw new TlsReloadError("CONFIG_UNUSABLE", "no");
  };
  world.holders[0]!.giveUp();
  world.state.swap(SECOND);
  await world.until(() => world.errors.length > 2 && world.holders.length === 1, "a successor");
  const next = world.connect();
  await world.until(() => next.servedBy !== undefined, "an answer");
  assertEquals(next.servedBy, 0);
  await close(world);
});

test("Handoff ends a replaced generation with its last connection, and only then", async () => {
  const world = await opened();
  const [first, second] = [world.connect(), world.connect()];
  world.runtime.acceptAll();
  world.state.swap(SECOND);
  await world.newestServes();
  const server = world.runtime.servers.find(({ connections }) => connections.includes(first))!;
  for (const connection of [first, second]) {
    await delay(250);
    assertEquals([server.isStopped, generations(world)], [false, [0, 1]]);
    world.kernel.disconnect(connection);
  }
  await world.until(() => server.isStopped, "the old generation has ended");
  assertEquals(generations(world), [1]);
  await close(world);
});

test("Handoff counts a connection that waited in the queue during a swap for the server that accepts it", async () => {
  const world = await opened();
  // Queued before the park, with the mark of generation 0, and accepted by generation 1.
  const queued = world.connect();
  world.state.swap(SECOND);
  await world.until(() => queued.servedBy !== undefined, "an answer");
  assertEquals(queued.servedBy, 1);
  world.state.swap(THIRD);
  await world.newestServes();
  const server = world.runtime.servers.find(({ connections }) => connections.includes(queued))!;
  await delay(300);
  assertEquals(server.isStopped, false);
  world.kernel.disconnect(queued);
  await world.until(() => server.isStopped, "the old generation has ended");
  await close(world);
});

test("Handoff does not count sockets that are not connections of the server", async () => {
  const world = await opened();
  const mark = world.kernel.mark(world.holders[0]!.descriptor);
  const others = [
    world.kernel.newSocket({ port: 443 }), // another server on the port, whose connections have no mark
    world.kernel.newSocket({ port: 50_000, mark }), // an outbound connection with an equal option
    world.kernel.newSocket({ port: 443, isListening: false, mark: mark + 0x1_0000 }), // another thread's
  ];
  world.state.swap(SECOND);
  await world.newestServes();
  // Without a mark, it may be of generation 0 as well: it was there before the first mark, or may have been.
  world.kernel.close(others[0]!);
  await world.until(() => generations(world).length === 1, "the old generation has ended");
  await close(world);
});

test("Handoff ends a replaced generation by force when graceMs is over, the serving one never", async () => {
  const world = await opened({ when: "always", graceMs: 300 });
  const old = world.connect();
  world.runtime.acceptAll();
  const begin = performance.now();
  world.state.swap(SECOND);
  await world.newestServes();
  const kept = world.connect();
  await world.until(() => old.isReset === true, "the old connection is closed");
  assert(performance.now() - begin >= 300);
  await delay(400);
  assertEquals([kept.isReset, generations(world)], [undefined, [1]]);
  // Nor does close() begin a drain.
  world.handoff.close();
  await delay(400);
  assertEquals(kept.isReset, undefined);
  world.kernel.disconnect(kept);
  await finished(world);
});

test("Handoff reports how many connections a drain ends, and how, from one count to the next", async () => {
  const world = await opened({ when: "always", graceMs: 500 });
  const { drainTally } = sharedBy(world.state);
  const told: DrainProgress[] = [];
  drainTally.subscribe((progress) => told.push(progress));
  const [first, second, third] = [world.connect(), world.connect(), world.connect()];
  world.runtime.acceptAll();
  world.state.swap(SECOND);
  await world.newestServes();
  const kept = world.connect();
  assertEquals([told, drainTally.status.ending], [[{ phase: "started", connections: 3, forced: 0, untrusted: 0 }], 3]);
  world.kernel.disconnect(first!);
  await world.until(() => generations(world).length > 0 && drainTally.status.gently === 1, "one has ended");
  // The witness of its generation is still there when this one ends, so that no count is due.
  world.kernel.disconnect(second!);
  await world.until(() => third!.isReset === true, "the last one is closed");
  assertEquals(drainTally.status, { ending: 0, gently: 2, forced: 1, untrusted: 0 });
  assertEquals(told.at(-1), { phase: "ended", connections: 3, forced: 1, untrusted: 0 });
  world.kernel.disconnect(kept);
  await close(world);
});

test("Handoff ends each generation once when a listener of a drain, or a server that stops, asks for the counts", async () => {
  for (const graceMs of [Infinity, 200]) {
    const world = await opened({ when: "always", graceMs, spreadMs: 0 });
    sharedBy(world.state).drainTally.subscribe(() => generations(world));
    const old = [];
    for (const next of [SECOND, FIRST]) {
      const [server] = world.holders;
      const stop = server!.stop.bind(server);
      server!.stop = () => {
        stop();
        generations(world);
      };
      old.push(world.connect());
      world.runtime.acceptAll();
      world.state.swap(next);
      await world.newestServes();
    }
    if (graceMs === Infinity) { for (const connection of old) world.kernel.disconnect(connection); }
    await delay(300);
    await world.until(() => generations(world).length < 2, "the old generations have ended");
    assertEquals(generations(world), [2]);
    await close(world);
  }
});

test("Handoff begins the drain of a generation once, also when connections never end by force", async () => {
  const world = await opened({ when: "always", graceMs: Infinity });
  let drains = 0;
  Object.assign(world.holders[0]!, { endConnections: () => drains++ });
  const old = world.connect();
  world.runtime.acceptAll();
  for (const config of [SECOND, THIRD]) {
    world.state.swap(config);
    await world.newestServes();
  }
  assertEquals(drains, 1);
  world.kernel.disconnect(old);
  await close(world);
});

test("Handoff ends replaced generations while swaps follow each other soon", async () => {
  const world = await opened();
  let most = 0;
  for (let swap = 0; swap < 20; swap++) {
    world.state.swap(swap % 2 ? THIRD : SECOND);
    await world.newestServes();
    await delay(30);
    most = Math.max(most, world.runtime.servers.filter(({ isRunning }) => isRunning).length);
  }
  assert(most < 15, `${most} servers ran`);
  await close(world);
});

test("Handoff.close() frees the port, keeps connections, and finishes with the last of them", async () => {
  const world = await opened();
  const kept = world.connect();
  world.runtime.acceptAll();
  world.handoff.close();
  world.handoff.close();
  assertEquals(world.connect().isReset, true);
  let isFinished = false;
  world.handoff.finished.then(() => isFinished = true);
  await delay(300);
  assertEquals([isFinished, kept.isReset], [false, undefined]);
  world.state.swap(SECOND);
  assertEquals(world.runtime.servers.length, 2);
  world.kernel.disconnect(kept);
  await finished(world);
  assert(world.runtime.servers.every(({ isRunning }) => !isRunning));
});

test("Handoff replaces a server that is exhausted by one of the same configuration, and loses no connection", async () => {
  const world = await opened();
  const [first] = world.holders as [FakeServer];
  const kept = world.connect();
  await world.until(() => kept.servedBy !== undefined, "an answer");
  first.exhaust();
  const waiting = world.connect();
  await world.until(() => waiting.servedBy !== undefined, "an answer");
  await world.until(() => world.holders[0] !== first && world.holders.length === 1, "another server");
  assertEquals([kept.isReset, waiting.isReset, first.isRunning], [undefined, undefined, true]);
  assertEquals([generations(world), world.errors], [[0, 0], []]);
  for (const connection of [kept, waiting]) world.kernel.disconnect(connection);
  await world.until(() => !first.isRunning, "the end of the exhausted server");
  await close(world);
});

test("Handoff lets an exhausted server accept until another one starts", async () => {
  const world = await opened();
  const [first] = world.holders as [FakeServer];
  const { start } = world.runtime;
  world.runtime.start = () => {
    throw new Error("no descriptor");
  };
  first.exhaust();
  await world.until(() => world.errors.length > 0, "an error");
  const connection = world.connect();
  await world.until(() => connection.servedBy !== undefined, "an answer");
  assertEquals([world.holders, connection.isReset], [[first], undefined]);
  world.runtime.start = start;
  await world.until(() => world.holders[0] !== first, "another server");
  await close(world);
});

test("Handoff.unref() holds for every generation, as ref() does", async () => {
  const world = await opened();
  const running = () => world.runtime.servers.filter(({ isRunning }) => isRunning);
  const states = () => [...new Set(running().map((server: FakeServer) => server.isRef))];
  world.handoff.unref();
  world.runtime.beforeProof = () => assertEquals(states(), [false]);
  world.state.swap(SECOND);
  await world.newestServes();
  assertEquals(states(), [false]);
  world.handoff.ref();
  world.runtime.beforeProof = () => assertEquals(states(), [true]);
  world.state.swap(THIRD);
  await world.newestServes();
  assertEquals([states(), world.errors], [[true], []]);
  await close(world);
});
