import { assertEquals, assertRejects } from "@std/assert";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import test from "node:test";
import { TlsConfig, TlsState } from "../../mod.ts";
import { type Backend, Front, type FrontOptions, type StartBackend } from "../../src/native/front.ts";
import { listenNet } from "../../src/native/net_carrier.ts";
import { issuePair } from "../support/certificates.ts";
import { connected, until } from "../support/tcp.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

async function newConfig(): Promise<TlsConfig> {
  return new TlsConfig(await issuePair("front"));
}

/** A backend that says which generation it is, and then what it is told. */
function echo(generation: number, closed: number[] = []): Backend<Socket> {
  return {
    serve(client) {
      client.write(`${generation}\n`);
      client.pipe(client);
    },
    close: () => void closed.push(generation),
  };
}

function openFront(
  state: TlsState,
  start: StartBackend<Socket, Backend<Socket>>,
  options?: FrontOptions,
): Promise<Front<Socket, Backend<Socket>>> {
  return Front.open(state, { listen: listenNet(LOOPBACK), start }, options);
}

test("Front gives a connection to the newest generation, where it stays", async () => {
  const state = new TlsState(await newConfig());
  const closed: number[] = [];
  const front = await openFront(state, ({ generation }) => echo(generation, closed));
  const first = await connected(front.address.port);
  await first.hears("0\n");
  state.swap(await newConfig());
  const second = await connected(front.address.port);
  await second.hears("1\n");
  first.socket.write("still here");
  await first.hears("still here");
  assertEquals(front.generations, [{ generation: 0, connections: 1 }, { generation: 1, connections: 1 }]);
  assertEquals(closed, []);
  await first.close();
  await until(() => closed.length > 0);
  assertEquals(closed, [0]);
  assertEquals(front.generations.map(({ generation }) => generation), [1]);
  front.close();
  await second.close();
  await front.finished;
  assertEquals(closed, [0, 1]);
});

test("Front holds a connection accepted after a swap until the generation has started", async () => {
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

test("Front goes on with the last good generation when one does not start", async () => {
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

test("Front ends with the newest of several swaps and starts none that is out of date", async () => {
  const state = new TlsState(await newConfig());
  const started: number[] = [];
  const closed: number[] = [];
  const front = await openFront(state, async ({ generation }) => {
    await new Promise(setImmediate);
    started.push(generation);
    return echo(generation, closed);
  });
  const config = await newConfig();
  for (let swap = 0; swap < 100; swap++) state.swap(config);
  const client = await connected(front.address.port);
  await client.hears("100\n");
  assertEquals(started, [0, 1, 100]);
  assertEquals(closed, [0, 1]);
  await client.close();
  front.destroy();
  await front.finished;
});

test("Front tells the generation that serves, at once, that the state holds a newer one", async () => {
  const state = new TlsState(await newConfig());
  const guarded: number[] = [];
  const front = await openFront(
    state,
    ({ generation }) => ({ ...echo(generation), guard: () => void guarded.push(generation) }),
  );
  assertEquals(guarded, []);
  state.swap(await newConfig());
  assertEquals(guarded, [0]);
  front.destroy();
  await front.finished;
});

test("Front cuts the connections of a replaced generation after drainTimeoutMs, and no others", async () => {
  const state = new TlsState(await newConfig());
  const options: FrontOptions = { drainTimeoutMs: 1 };
  const front = await openFront(state, ({ generation }) => echo(generation), options);
  const first = await connected(front.address.port);
  await first.hears("0\n");
  state.swap(await newConfig());
  const second = await connected(front.address.port);
  await second.hears("1\n");
  await first.ended;
  second.socket.write("on");
  await second.hears("on");
  await second.close();
  front.destroy();
  await front.finished;
});

test("Front.open() rejects when the port is taken, and closes what it started", async () => {
  const state = new TlsState(await newConfig());
  const closed: number[] = [];
  const start = ({ generation }: { generation: number }) => echo(generation, closed);
  const front = await openFront(state, start);
  const error = await assertRejects(
    () => Front.open(state, { listen: listenNet(front.address), start }),
    Error,
  );
  assertEquals((error as NodeJS.ErrnoException).code, "EADDRINUSE");
  assertEquals(closed, [0]);
  state.swap(await newConfig());
  front.destroy();
  await front.finished;
});

test("Front.open() rejects when the first generation does not start", async () => {
  const state = new TlsState(await newConfig());
  await assertRejects(() => openFront(state, () => Promise.reject(new Error("bad"))), Error, "bad");
});

test("Front tries a generation that could not start again, and reports it once", async () => {
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
