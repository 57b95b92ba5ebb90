import { assert, assertEquals, assertThrows } from "@std/assert";
import { EventEmitter, on } from "node:events";
import test from "node:test";
import { type TlsConfig, TlsState } from "../../mod.ts";
import { type FollowOptions, Reloader, type ReloadResult } from "../../src/reload.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { configOf } from "../support/peers.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";
import { until } from "../support/tcp.ts";
import { nextEvent } from "./rotating_files.ts";

const [first, second, third] = await Promise.all(["first", "second", "third"].map((name) => issueServer(name))) as [
  Issued,
  Issued,
  Issued,
];
/** A store whose changes are published to its subscribers, as Redis or NATS do. */
class Store<Item = string> {
  readonly #channel = new EventEmitter().setMaxListeners(0);
  config: TlsConfig = configOf(first);
  loads = 0;
  subscriptions = 0;

  loadMs = 0;
  load = async (): Promise<TlsConfig> => {
    this.loads++;
    const { config } = this;
    if (this.loadMs > 0) await new Promise((resolve) => setTimeout(resolve, this.loadMs));
    return config;
  };

  publish(item: Item): void {
    this.#channel.emit("item", item);
  }

  fail(error: Error): void {
    this.#channel.emit("error", error);
  }

  async *subscribe(signal: AbortSignal): AsyncGenerator<Item> {
    this.subscriptions++;
    for await (const [item] of on(this.#channel, "item", { signal })) yield item;
  }

  get subscribers(): number {
    return this.#channel.listenerCount("item");
  }
}

function follower<Item = string>(options: FollowOptions<Item> = {}) {
  const store = new Store<Item>();
  const state = new TlsState(store.config);
  const reloader = new Reloader(state, store.load);
  reloader.addEventListener("reject", (event) => event.preventDefault());
  const trigger = reloader.follow((signal) => store.subscribe(signal), options);
  const stream = () => reloader.status().streams[0]!;
  return { store, state, reloader, trigger, stream };
}

test("Reloader.follow() reloads at once after a subscription, and at each item", async () => {
  const { store, state, reloader, stream } = follower();
  await nextEvent(reloader, "unchanged");
  assertEquals([store.loads, store.subscriptions, stream().connected, stream().items], [1, 1, undefined, 0]);
  for (const issued of [second, third]) {
    store.config = configOf(issued);
    const swapped = nextEvent(reloader, "swap");
    store.publish("changed");
    await swapped;
    assertEquals(state.current().leaf.fingerprint256, issued.fingerprint256);
  }
  const { connected, items, lastItem, since, reconnects, lastError } = stream();
  assertEquals([connected, items, reconnects, lastError], [true, 2, 0, undefined]);
  assert(since! <= lastItem!);
  assert(reloader.metrics().includes("\ntls_reload_stream_connected 1\n"));
  assert(reloader.metrics().includes("\ntls_reload_stream_items_total 2\n"));
  await reloader.close();
});

test("Reloader.follow() coalesces items that come during a reload, and loads once after the last one", async () => {
  const { store, reloader } = follower();
  await nextEvent(reloader, "unchanged");
  store.loadMs = 50;
  for (let count = 0; count < 1_000; count++) store.publish("changed");
  store.config = configOf(second);
  store.publish("changed");
  const { config } = (await nextEvent(reloader, "swap")).detail;
  assertEquals(config.leaf.fingerprint256, second.fingerprint256);
  await until(() => reloader.status().streams[0]!.items === 1_001);
  assert(store.loads < 20, `${store.loads} loads`);
  await reloader.close();
});

test("Reloader.follow() subscribes again after an error and after an end, and reloads what it missed", async () => {
  const { store, state, reloader, stream } = follower();
  await nextEvent(reloader, "unchanged");
  for (const [count, issued] of [second, third].entries()) {
    const disconnected = nextEvent(reloader, "disconnect");
    const began = performance.now();
    store.fail(new Error("connection reset"));
    const { error, retryMs } = (await disconnected).detail;
    assertEquals((error as Error).message, "connection reset");
    assertEquals([stream().connected, stream().lastError], [false, "connection reset"]);
    assert(reloader.metrics().includes("\ntls_reload_stream_connected 0\n"));
    // Without an item in between, the second pause is twice the first.
    assert(retryMs >= 800 * 2 ** count && retryMs <= 1_200 * 2 ** count, `${retryMs} ms`);
    store.config = configOf(issued);
    await nextEvent(reloader, "swap");
    assert(performance.now() - began >= retryMs - 10);
    assertEquals([stream().reconnects, state.current().leaf.fingerprint256], [count + 1, issued.fingerprint256]);
  }
  // An item resets the pauses.
  store.publish("changed");
  await until(() => stream().connected === true);
  const disconnected = nextEvent(reloader, "disconnect");
  store.fail(new Error("again"));
  assert((await disconnected).detail.retryMs <= 1_200);
  assertEquals(store.subscribers, 0);
  await reloader.close();
});

test("Reloader.follow() dispatches disconnect for an end, a source that throws, and a value that is not iterable", async () => {
  const sources: readonly [(signal: AbortSignal) => AsyncIterable<string>, string][] = [
    [async function* () {}, "the stream has ended"],
    [() => {
      throw new Error("no such channel");
    }, "no such channel"],
    // deno-lint-ignore require-yield
    [async function* () {
      throw Object.create(null);
    }, "what was thrown has no text"],
    [() => undefined as never, ""],
  ];
  for (const [source, message] of sources) {
    const state = new TlsState(configOf(first));
    const reloader = new Reloader(state, () => Promise.resolve(state.current()));
    const signals: AbortSignal[] = [];
    reloader.follow((signal) => {
      signals.push(signal);
      return source(signal);
    });
    const { retryMs } = (await nextEvent(reloader, "disconnect")).detail;
    assert(retryMs >= 800 && retryMs <= 1_200);
    const { connected, lastError } = reloader.status().streams[0]!;
    assertEquals([connected, signals[0]!.aborted], [false, true]);
    if (message) assertEquals(lastError, message);
    await reloader.close();
  }
});

test("Reloader.follow() retries a rejected reload, long before the poll", async () => {
  const { store, reloader } = follower({ pollIntervalMs: 3_600_000 });
  await nextEvent(reloader, "unchanged");
  const good = store.config;
  store.config = undefined as never;
  const rejected = nextEvent(reloader, "reject");
  store.publish("changed");
  await rejected;
  store.config = good;
  await nextEvent(reloader, "unchanged");
  await reloader.close();
});

test("Reloader.follow() polls beside the stream, for changes that the source does not report", async () => {
  const { store, reloader } = follower({ pollIntervalMs: 20 });
  await nextEvent(reloader, "unchanged");
  store.config = configOf(second);
  assertEquals((await nextEvent(reloader, "swap")).detail.config.leaf.fingerprint256, second.fingerprint256);
  assertEquals(reloader.status().streams[0]!.items, 0);
  await reloader.close();
});

test("Reloader.follow() serves the item itself with 'toConfig', and does not call load", async () => {
  const { store, state, reloader, trigger } = follower<Issued>({ toConfig: (issued) => configOf(issued) });
  await until(() => store.subscribers === 1);
  for (const issued of [second, third]) {
    const swapped = nextEvent(reloader, "swap");
    store.publish(first);
    store.publish(issued);
    await swapped;
    await until(() => state.current().leaf.fingerprint256 === issued.fingerprint256);
  }
  assertEquals(store.loads, 0);
  assertEquals((await reloader.reload()).outcome, "unchanged");
  const rejected = nextEvent(reloader, "reject");
  store.publish({ ...second, key: first.key });
  await rejected;
  assertEquals(state.current().leaf.fingerprint256, third.fingerprint256);
  secretKey(first.key);
  secretKey(second.key);
  for (const value of [reloader, reloader.status(), reloader.metrics()]) assertHidesSecrets(value);
  trigger[Symbol.dispose]();
  assertEquals(((await reloader.reload()) as ReloadResult & { config: TlsConfig }).config, store.config);
  await reloader.close();
});

test("Reloader.follow() spreads reloads over 'splayMs', and uses the latest item", async () => {
  const followers = Array.from({ length: 20 }, () => follower({ splayMs: 1_000 }));
  await Promise.all(followers.map(({ reloader }) => nextEvent(reloader, "unchanged")));
  const delays = await Promise.all(followers.map(async ({ store, reloader, state }) => {
    store.publish("changed"); // the first item is not delayed
    await until(() => reloader.status().streams[0]!.items === 1);
    await reloader.reload();
    const swapped = nextEvent(reloader, "swap");
    store.config = configOf(second);
    const began = performance.now();
    store.publish("changed");
    store.publish("changed");
    await swapped;
    assertEquals(state.current().leaf.fingerprint256, second.fingerprint256);
    return performance.now() - began;
  }));
  // Without a pause they would take a few milliseconds; a busy machine makes each take longer.
  assert(Math.max(...delays) - Math.min(...delays) > 150, delays.join());
  assert(Math.max(...delays) < 10_000, delays.join());
  for (const { reloader } of followers) await reloader.close();
});

test("Reloader.close() aborts the signal of a stream, and does not wait for its source", async () => {
  const { store, reloader } = follower();
  await nextEvent(reloader, "unchanged");
  assertEquals(store.subscribers, 1);
  await reloader.close();
  await until(() => store.subscribers === 0);
  const loads = store.loads;
  store.publish("too late");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals([store.loads, store.subscriptions], [loads, 1]);

  let signal: AbortSignal | undefined;
  let isReturned = false;
  const state = new TlsState(configOf(first));
  const stubborn = new Reloader(state, () => Promise.resolve(state.current()));
  stubborn.follow((given) => {
    signal = given;
    const never = new Promise<never>(() => {});
    const end = () => {
      isReturned = true;
      return never;
    };
    return { [Symbol.asyncIterator]: () => ({ next: () => never, return: end }) };
  });
  await nextEvent(stubborn, "unchanged");
  await stubborn.close();
  assertEquals([signal?.aborted, isReturned], [true, true]);
});

test("Reloader.follow() does not subscribe if it is disposed of at once", async () => {
  const { store, trigger, reloader } = follower();
  trigger[Symbol.dispose]();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals([store.subscriptions, store.loads, reloader.status().streams], [0, 0, []]);
  await reloader.close();
});

test("Reloader.follow() does not block the process if the source never runs empty", async () => {
  const state = new TlsState(configOf(first));
  const reloader = new Reloader(state, () => Promise.resolve(state.current()));
  reloader.follow(async function* () {
    for (;;) yield await Promise.resolve("changed");
  });
  await nextEvent(reloader, "unchanged");
  await new Promise((resolve) => setTimeout(resolve, 10));
  await reloader.close();
});

test("Reloader.follow() throws for values that are not times", async () => {
  const { reloader, store } = follower();
  for (const ms of [-1, NaN, 2 ** 31]) {
    assertThrows(() => reloader.follow((signal) => store.subscribe(signal), { splayMs: ms }), TypeError, "splayMs");
    const options = { pollIntervalMs: ms };
    assertThrows(() => reloader.follow((signal) => store.subscribe(signal), options), TypeError, "pollIntervalMs");
  }
  await reloader.close();
});
