import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import test from "node:test";
import { NativeRootsError } from "../../src/errors.ts";
import { RootCache } from "../../src/roots/cache.ts";
import { loadRoots } from "../../src/roots/load.ts";
import { issueCa } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { faultyFiles, systemError, systemOf } from "../support/root_system.ts";

const [a, b] = await Promise.all([issueCa("a"), issueCa("b")]);

/** A cache over one file, which fails for as long as the test wants. */
function cacheOf(path: string) {
  const state = { fails: false, onRead: () => {} };
  const files = faultyFiles(() => {
    state.onRead();
    return state.fails ? systemError("EIO") : undefined;
  });
  return { cache: new RootCache(() => loadRoots(systemOf({ SSL_CERT_FILE: path }, { files }))), files, state };
}

function errorOf(promise: Promise<unknown>): Promise<NativeRootsError> {
  return assertRejects(() => promise, NativeRootsError);
}

test("RootCache.get() runs one load for a thousand first calls, and keeps the store", () =>
  withFiles(async ({ write }) => {
    const { cache, files } = cacheOf(await write("roots.pem", a.cert));
    const stores = await Promise.all(Array.from({ length: 1000 }, () => cache.get()));
    assertEquals([new Set(stores).size, files.reads.length], [1, 1]);
    assertStrictEquals(await cache.get(), stores[0]);
    assertEquals(files.reads.length, 1);
  }));

test("RootCache.get() rejects with the same error after three attempts, without a fourth", () =>
  withFiles(async ({ write }) => {
    const { cache, files, state } = cacheOf(await write("roots.pem", a.cert));
    state.fails = true;
    const errors = await Promise.all(Array.from({ length: 1000 }, () => errorOf(cache.get())));
    assertEquals([new Set(errors).size, files.reads.length], [1, 3]);
    state.fails = false;
    assertStrictEquals(await errorOf(cache.get()), errors[0]);
    assertEquals(files.reads.length, 3);
  }));

test("RootCache.refresh() clears an error only if it succeeds", () =>
  withFiles(async ({ write }) => {
    const { cache, files, state } = cacheOf(await write("roots.pem", a.cert));
    state.fails = true;
    const first = await errorOf(cache.get());
    const second = await errorOf(cache.refresh());
    assertEquals([first === second, files.reads.length], [false, 6]);
    assertStrictEquals(await errorOf(cache.get()), first);
    state.fails = false;
    const store = await cache.refresh();
    assertStrictEquals(await cache.get(), store);
    assertEquals(files.reads.length, 7);
  }));

test("RootCache.refresh() replaces the store only if it succeeds", () =>
  withFiles(async ({ write }) => {
    const path = await write("roots.pem", a.cert);
    const { cache, state } = cacheOf(path);
    const first = await cache.get();
    state.fails = true;
    await errorOf(cache.refresh());
    assertStrictEquals(await cache.get(), first);
    state.fails = false;
    await write("roots.pem", a.cert + b.cert);
    const second = await cache.refresh();
    assertStrictEquals(await cache.get(), second);
    assertEquals([first.size, second.size, second.has(b.fingerprint256)], [1, 2, true]);
  }));

test("RootCache.refresh() reads the files as they were at the call or later, also while another load runs", () =>
  withFiles(async ({ write }) => {
    const { cache, files } = cacheOf(await write("roots.pem", a.cert));
    const loading = cache.get();
    const refreshes = Array.from({ length: 1000 }, () => cache.refresh());
    assertStrictEquals(cache.get(), loading);
    assertEquals((await loading).size, 1);
    const stores = await Promise.all(refreshes);
    assertEquals([new Set(stores).size, files.reads.length], [1, 2]);
    assertStrictEquals(await cache.get(), stores[0]);
  }));

test("RootCache.refresh() begins the next load after the one that runs", () =>
  withFiles(async ({ write }) => {
    const { cache, files, state } = cacheOf(await write("roots.pem", a.cert));
    const reading = new Promise<void>((resolve) => state.onRead = resolve);
    const first = cache.refresh();
    await reading;
    const second = cache.refresh();
    assertEquals([(await first) === (await second), files.reads.length], [false, 2]);
    assertStrictEquals(await cache.get(), await second);
  }));

test("RootCache.get() shares the load of a refresh that comes first, and its error", () =>
  withFiles(async ({ write }) => {
    const { cache, files, state } = cacheOf(await write("roots.pem", a.cert));
    state.fails = true;
    const refused = await errorOf(cache.refresh());
    assertStrictEquals(await errorOf(cache.get()), refused);
    assertEquals(files.reads.length, 3);
  }));
