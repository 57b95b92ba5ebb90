import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { once } from "node:events";
import { createServer } from "node:net";
import process from "node:process";
import test from "node:test";
import { TlsConfig, TlsState } from "../../mod.ts";
import { allGenerations, sharedBy } from "../../src/accept/tls_state.ts";
import { Front, type FrontRuntime } from "../../src/native/front.ts";
import { listenOn } from "../../src/native/public_listener.ts";
import type { Backend } from "../../src/native/front_generations.ts";
import type { ServingOptions } from "../../src/native/serving_options.ts";
import { issueCa, issuePair } from "../support/certificates.ts";
import { connected, until } from "../support/tcp.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

async function newConfig(): Promise<TlsConfig> {
  return new TlsConfig(await issuePair("front"));
}

/** A backend that sends its generation, and then echoes. */
function echo(generation: number, stopped: number[] = []): Backend<undefined> {
  return {
    server: undefined,
    serve(client) {
      client.write(`${generation}\n`);
      client.pipe(client);
    },
    stop: () => void stopped.push(generation),
  };
}

function openFront(
  state: TlsState,
  start: FrontRuntime<undefined>["start"],
  options?: ServingOptions,
): Promise<Front<undefined>> {
  return Front.open(state, { listen: listenOn(LOOPBACK), start }, options);
}

/** Opens a front, with a connection of each of two generations. */
async function openAndSwap(state: TlsState) {
  const front = await openFront(state, ({ generation }) => echo(generation));
  const first = await connected(front.address.port);
  await first.hears("0\n");
  state.swap(await newConfig());
  const second = await connected(front.address.port);
  await second.hears("1\n");
  return { front, first, second };
}

test("Front serves a connection by the newest generation until it ends", async () => {
  const state = new TlsState(await newConfig());
  const stopped: number[] = [];
  const front = await openFront(state, ({ generation }) => echo(generation, stopped));
  const first = await connected(front.address.port);
  await first.hears("0\n");
  state.swap(await newConfig());
  const second = await connected(front.address.port);
  await second.hears("1\n");
  first.socket.write("still here");
  await first.hears("still here");
  const expected = [{ generation: 0, connections: 1 }, { generation: 1, connections: 1 }];
  assertEquals([front.generations, allGenerations(state)], [expected, expected]);
  assertEquals(stopped, []);
  await first.close();
  await until(() => stopped.length > 0);
  assertEquals(stopped, [0]);
  assertEquals(front.generations.map(({ generation }) => generation), [1]);
  front.close();
  await second.close();
  await front.finished;
  assertEquals(stopped, [0, 1]);
});

test("Front holds a connection accepted after a swap until the new generation has started", async () => {
  const state = new TlsState(await newConfig());
  const starting = Promise.withResolvers<void>();
  const front = await openFront(state, async ({ generation }) => {
    if (generation === 1) await starting.promise;
    return echo(generation);
  });
  state.swap(await newConfig());
  const client = await connected(front.address.port);
  client.socket.write("early");
  // A round trip of another connection: time enough for this one to be answered, were it not held.
  const other = createServer((socket) => void socket.end("answer")).listen(0, "127.0.0.1");
  await once(other, "listening");
  const probe = await connected((other.address() as { port: number }).port);
  await probe.hears("answer");
  assertEquals(client.socket.bytesRead, 0);
  starting.resolve();
  await client.hears("1\n");
  await client.hears("early");
  await probe.close();
  other.close();
  await client.close();
  front.destroy();
  await front.finished;
});

test("Front continues with the last good generation when a newer one does not start", async () => {
  const state = new TlsState(await newConfig());
  const errors: unknown[] = [];
  const failure = new Error("cannot start");
  const front = await openFront(
    state,
    ({ generation }) => generation === 1 ? Promise.reject(failure) : echo(generation),
    { onTlsError: (error) => errors.push(error) },
  );
  for (const expected of ["0\n", "0\n", "2\n"]) {
    const client = await connected(front.address.port);
    await client.hears(expected);
    await client.close();
    state.swap(await newConfig());
  }
  assertEquals(errors, [failure]);
  front.destroy();
  await front.finished;
});

test("Front starts the newest of several swaps and skips those that are out of date", async () => {
  const state = new TlsState(await newConfig());
  const started: number[] = [];
  const stopped: number[] = [];
  const front = await openFront(state, async ({ generation }) => {
    await new Promise(setImmediate);
    started.push(generation);
    return echo(generation, stopped);
  });
  const config = await newConfig();
  for (let swap = 0; swap < 100; swap++) state.swap(config);
  const client = await connected(front.address.port);
  await client.hears("100\n");
  assertEquals(started, [0, 1, 100]);
  assertEquals(stopped, [0, 1]);
  await client.close();
  front.destroy();
  await front.finished;
});

test("Front makes the serving generation refuse direct connections as soon as the state holds a newer one", async () => {
  const state = new TlsState(await newConfig());
  const refusing: number[] = [];
  const front = await openFront(
    state,
    ({ generation }) => ({ ...echo(generation), refuseDirectConnections: () => void refusing.push(generation) }),
  );
  assertEquals(refusing, []);
  state.swap(await newConfig());
  assertEquals(refusing, [0]);
  front.destroy();
  await front.finished;
});

test("Front closes the connections of a replaced generation after graceMs, and no others", async () => {
  const state = new TlsState(await newConfig(), { drain: { when: "always", graceMs: 1 } });
  const { front, first, second } = await openAndSwap(state);
  await first.ended;
  assertEquals(sharedBy(state).drainTally.status, { ending: 0, gently: 0, forced: 1, untrusted: 0 });
  second.socket.write("on");
  await second.hears("on");
  await second.close();
  front.destroy();
  await front.finished;
});

test("Front ends connections within spreadMs when trust is taken away, also those that a drain lets stay longer", async () => {
  const clientAuth = { ca: (await issueCa("clients")).cert, mode: "required" } as const;
  const state = new TlsState(await newConfig(), { drain: { when: "always", graceMs: Infinity, spreadMs: 100 } });
  const { front, first, second } = await openAndSwap(state);
  const tally = sharedBy(state).drainTally;
  assertEquals(tally.status.ending, 1);
  state.swap(new TlsConfig({ ...await issuePair("strict"), clientAuth }));
  await Promise.all([first.ended, second.ended]);
  await until(() => tally.status.ending === 0);
  assertEquals(tally.status, { ending: 0, gently: 0, forced: 2, untrusted: 0 });
  front.destroy();
  await front.finished;
});

test("Front.open() rejects when the port is taken, and stops the backend that it started", async () => {
  const state = new TlsState(await newConfig());
  const stopped: number[] = [];
  const start = ({ generation }: { generation: number }) => echo(generation, stopped);
  const front = await openFront(state, start);
  const error = await assertRejects(
    () => Front.open(state, { listen: listenOn(front.address), start }),
    Error,
  );
  assertEquals((error as NodeJS.ErrnoException).code, "EADDRINUSE");
  assertEquals(stopped, [0]);
  state.swap(await newConfig());
  front.destroy();
  await front.finished;
});

test("Front.open() rejects when the first generation does not start", async () => {
  const state = new TlsState(await newConfig());
  await assertRejects(() => openFront(state, () => Promise.reject(new Error("bad"))), Error, "bad");
});

test("Front serves on when onTlsError throws or rejects", async () => {
  const wrong = [
    () => {
      throw new Error("onTlsError throws");
    },
    () => Promise.reject(new Error("onTlsError rejects")),
  ];
  for (const onTlsError of wrong) {
    const state = new TlsState(await newConfig());
    const front = await openFront(state, ({ generation }) => {
      if (generation === 1) throw new Error("generation 1 does not start");
      return echo(generation);
    }, { onTlsError });
    const warned = once(process, "warning");
    state.swap(await newConfig());
    assertMatch((await warned)[0].message, /^onTlsError (?:throws|rejects)$/);
    const client = await connected(front.address.port);
    await client.hears("0\n");
    front.destroy();
    await front.finished;
  }
});

test("Front retries a generation that could not start, and reports it once", async () => {
  const state = new TlsState(await newConfig());
  const errors: unknown[] = [];
  const failure = new Error("no file descriptor left");
  const failures = [failure, failure];
  const front = await openFront(state, ({ generation }) => {
    const failed = generation === 1 && failures.shift();
    return failed ? Promise.reject(failed) : echo(generation);
  }, { onTlsError: (error) => errors.push(error) });
  state.swap(await newConfig());
  await until(() => front.generations.some(({ generation }) => generation === 1));
  assertEquals(errors, [failure]);
  front.destroy();
  await front.finished;
});

test("Front holds connections while a generation that takes trust away does not start", async () => {
  const clientAuth = { ca: (await issueCa("clients")).cert, mode: "required" } as const;
  const state = new TlsState(await newConfig());
  const strict = new TlsConfig({ ...await issuePair("strict"), clientAuth });
  const failed = Promise.withResolvers<void>();
  const failures = [new Error("no file descriptor left")];
  const front = await openFront(state, ({ generation }) => {
    const failure = generation === 1 ? failures.shift() : undefined;
    return failure ? Promise.reject(failure) : echo(generation);
  }, { onTlsError: () => failed.resolve() });
  const before = await connected(front.address.port);
  await before.hears("0\n");
  state.swap(strict);
  const during = await connected(front.address.port);
  await failed.promise;
  const after = await connected(front.address.port);
  before.socket.write("still here");
  await before.hears("still here");
  assertEquals([during.socket.bytesRead, after.socket.bytesRead], [0, 0]);
  for (const client of [during, after]) await client.hears("1\n");
  for (const client of [before, during, after]) await client.close();
  front.destroy();
  await front.finished;
});
