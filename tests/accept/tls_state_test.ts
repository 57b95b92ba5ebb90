import { assert, assertEquals, assertNotEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { on } from "node:events";
import process from "node:process";
import test from "node:test";
import { TlsState, type TlsSwap } from "../../mod.ts";
import { addFollower } from "../../src/accept/tls_state.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf, echoServer, visit } from "../support/peers.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";

const first = await issueServer("first");
const second = await issueServer("second");
const [a, b] = [configOf(first), configOf(second)];

test("TlsState.swap() changes what the next connection is served, and returns the previous configuration", async () => {
  const state = new TlsState(a);
  const server = await echoServer(state);
  assertEquals((await visit(server.port)).fingerprint256, first.fingerprint256);
  assertStrictEquals(state.swap(b), a);
  assertEquals((await visit(server.port)).fingerprint256, second.fingerprint256);
  assertStrictEquals(state.swap(a), b);
  assertEquals(await visit(server.port).then(({ fingerprint256, greeting }) => [fingerprint256, greeting]), [
    first.fingerprint256,
    "generation 2",
  ]);
  await server[Symbol.asyncDispose]();
});

test("TlsState.acceptor() is a snapshot, made once for each generation", () => {
  const state = new TlsState(a);
  const before = state.acceptor();
  assertStrictEquals(state.acceptor(), before);
  state.swap(b);
  assertStrictEquals(before.config, a);
  assertEquals(before.generation, 0);
  assertStrictEquals(state.acceptor().config, b);
  assertEquals([state.acceptor().generation, state.generation], [1, 1]);
  assertStrictEquals(state.current(), b);
});

test("TlsState.swap() throws for other values than a TlsConfig and changes nothing", () => {
  const state = new TlsState(a);
  let notified = 0;
  state.subscribe(() => notified++);
  assertThrows(() => state.swap(JSON.parse(JSON.stringify(b))), TypeError);
  assertThrows(() => state.swap(undefined as never), TypeError);
  assertStrictEquals(state.current(), a);
  assertEquals([state.generation, notified], [0, 0]);
});

test("TlsState.subscribe() calls each listener before swap() returns, until it is disposed of", () => {
  const state = new TlsState(a);
  const seen: unknown[] = [];
  const subscription = state.subscribe(({ config, previous, generation }) => seen.push(config, previous, generation));
  state.swap(b);
  assertEquals(seen, [b, a, 1]);
  subscription[Symbol.dispose]();
  subscription[Symbol.dispose]();
  state.swap(a);
  assertEquals(seen.length, 3);
});

test("TlsState.subscribe() reports the error of a listener as a warning and calls the others", async () => {
  const state = new TlsState(a);
  const warnings = on(process, "warning");
  let called = 0;
  state.subscribe(() => {
    throw new Error("a listener that throws");
  });
  // TypeScript takes it for one that returns nothing.
  state.subscribe(() => Promise.reject(new Error("a listener that rejects")));
  state.subscribe(() => {
    throw Object.create(null);
  });
  state.subscribe(() => called++);
  assertStrictEquals(state.swap(b), a);
  assertEquals(called, 1);
  const expected = new Set(["a listener that throws", "a listener that rejects", "what was thrown has no text"]);
  for await (const [{ message }] of warnings) {
    expected.delete(message);
    if (expected.size === 0) break;
  }
});

test("TlsState.subscribe() gives every listener the generations in their order, also when one of them swaps", () => {
  const state = new TlsState(a);
  const seen: number[] = [];
  state.subscribe(({ generation }) => {
    if (generation === 1) state.swap(a);
  });
  state.subscribe(({ generation }) => seen.push(generation));
  state.swap(b);
  assertEquals(seen, [2]);
  assertEquals(state.generation, 2);
});

test("TlsState.tls is a new object at each reading and hides the key when it is printed", () => {
  const state = new TlsState(a);
  const before = state.tls;
  assertEquals(before.cert, first.cert);
  state.swap(b);
  assertEquals(state.tls.cert, second.cert);
  assertEquals(before.cert, first.cert);
  assertNotEquals(state.tls.key, before.key);
  assert({ ...before }.key.includes("PRIVATE KEY"));
  secretKey(String(before.key));
  assertHidesSecrets(before);
  assertHidesSecrets({ deep: [{ ...before }] });
});

test("TlsState.swap() tells no follower of a generation after a later one, if a follower swaps again", () => {
  const state = new TlsState(a);
  const told: number[] = [];
  const tell = ({ generation }: TlsSwap) => told.push(generation);
  const swapAgain = ({ generation }: TlsSwap) => generation === 1 && state.swap(a);
  for (const follow of [swapAgain, tell]) addFollower(state, { requireServable() {}, follow });
  state.swap(b);
  assertEquals(told, [2]);
});
