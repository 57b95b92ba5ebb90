import { assert, assertEquals, assertInstanceOf, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { on, once } from "node:events";
import process from "node:process";
import test from "node:test";
import { isMainThread, Worker } from "node:worker_threads";
import { type TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { Reloader, type ReloaderEventMap, type ReloadResult } from "../../src/reload.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { configOf, echoServer, visit } from "../support/peers.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";
import { until } from "../support/tcp.ts";
import { NEVER_MS, nextEvent } from "./rotating_files.ts";

const [first, second] = await Promise.all([issueServer("first"), issueServer("second")]);
const HOUR_MS = 3_600_000;
const at = (hours: number) => new Date(Date.now() + hours * HOUR_MS);
const expired = await issueServer("expired", { notBefore: at(-2), notAfter: at(-1) });
const notYetValid = await issueServer("not yet valid", { notBefore: at(25), notAfter: at(26) });
/** A reloader whose source is a variable. */
function reloaderOf(config: TlsConfig) {
  const source = { load: () => Promise.resolve(config) };
  const state = new TlsState(config);
  const reloader = new Reloader(state, () => source.load());
  reloader.addEventListener("reject", (event) => event.preventDefault());
  reloader.addEventListener("expiring", (event) => event.preventDefault());
  return { source, state, reloader };
}

const outcomeOf = ({ outcome }: ReloadResult) => outcome;
const trap = () => {
  throw new Error("nobody may look");
};
const codeOf = (result: ReloadResult) => result.outcome === "rejected" && (result.error as TlsReloadError).code;

test("Reloader.reload() swaps what is new, and a client is served it", async () => {
  const { source, state, reloader } = reloaderOf(configOf(first));
  const server = await echoServer(state);
  assertEquals(outcomeOf(await reloader.reload()), "unchanged");
  const previous = state.current();
  source.load = () => Promise.resolve(configOf(second));
  const result = await reloader.reload();
  assert(result.outcome === "swapped");
  assertStrictEquals(result.previous, previous);
  assertEquals((await visit(server.port)).fingerprint256, second.fingerprint256);
  assertEquals(outcomeOf(await reloader.reload()), "unchanged");
  assertEquals(state.generation, 1);
  await server[Symbol.asyncDispose]();
  await reloader.close();
});

test("Reloader.reload() swaps when the chain, key, client authorities or an option changed", async () => {
  const ca = await issueCa("CA");
  const sameKey = await issueServer("first", { issuer: ca });
  const variants = [
    configOf(first),
    configOf(first, { cert: first.cert + ca.cert }),
    configOf(sameKey),
    configOf(first, { alpnProtocols: ["h2"] }),
    configOf(first, { minVersion: "TLSv1.3" }),
    configOf(first, { clientAuth: { mode: "optional", ca: ca.cert } }),
    configOf(first, { clientAuth: { mode: "required", ca: ca.cert } }),
    configOf(first, { clientAuth: { mode: "required", ca: ca.cert + sameKey.cert } }),
  ];
  const { source, reloader } = reloaderOf(configOf(second));
  for (const variant of variants) {
    source.load = () => Promise.resolve(variant);
    assertEquals([outcomeOf(await reloader.reload()), outcomeOf(await reloader.reload())], ["swapped", "unchanged"]);
  }
  await reloader.close();
});

test("Reloader.reload() never rejects, even if load throws or returns garbage, and keeps what is served", async () => {
  const { source, state, reloader } = reloaderOf(configOf(first));
  const loads: [() => Promise<TlsConfig>, string][] = [
    [() => Promise.reject(new Error("out of order")), "out of order"],
    [() => Promise.reject("a string"), "a string"],
    [() => {
      throw new Error("at once");
    }, "at once"],
    [() => Promise.reject(Symbol("a symbol")), "Symbol(a symbol)"],
    [() => Promise.reject(Object.create(null)), "what was thrown has no text"],
    ...["message", "code", "name"].map((name): [() => Promise<TlsConfig>, string] => [
      () => Promise.reject(Object.defineProperty(new Error("a trap"), name, { get: trap })),
      name === "message" ? "what was thrown has no text" : "a trap",
    ]),
    [() => Promise.reject(new Proxy({}, { get: trap, getPrototypeOf: trap })), "what was thrown has no text"],
    [() => Promise.resolve(undefined as never), ""],
    [() => Promise.resolve({} as never), ""],
  ];
  for (const [load, message] of loads) {
    source.load = load;
    assertEquals(outcomeOf(await reloader.reload()), "rejected");
    if (message) assertEquals(reloader.status().lastError?.message, message);
  }
  assertEquals(reloader.status().failuresInARow, loads.length);
  assertEquals(state.generation, 0);
  source.load = () => Promise.resolve(configOf(second));
  assertEquals(outcomeOf(await reloader.reload()), "swapped");
  assertEquals(reloader.status().failuresInARow, 0);
  await reloader.close();
});

test("Reloader.reload() runs one load at a time, and shares the next one among all calls meanwhile", async () => {
  const { source, reloader } = reloaderOf(configOf(first));
  let [running, most, loads] = [0, 0, 0];
  source.load = async () => {
    most = Math.max(most, ++running);
    loads++;
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    return configOf(first);
  };
  const results = await Promise.all(Array.from({ length: 50 }, () => reloader.reload()));
  assertEquals(results.map(outcomeOf), Array(50).fill("unchanged"));
  assertEquals([most, loads], [1, 2]);
  await reloader.reload();
  assertEquals(loads, 3);
  await reloader.close();
});

test("Reloader.reload() keeps a valid certificate rather than one out of its validity, unless forced", async () => {
  const { source, state, reloader } = reloaderOf(configOf(first));
  for (
    const [issued, code] of [[expired, "CERTIFICATE_EXPIRED"], [notYetValid, "CERTIFICATE_NOT_YET_VALID"]] as const
  ) {
    source.load = () => Promise.resolve(configOf(issued));
    assertEquals(codeOf(await reloader.reload()), code);
    assertStrictEquals(state.current().leaf.fingerprint256, first.fingerprint256);
    const [unforced, forced] = [reloader.reload(), reloader.reload({ force: true })];
    assertEquals([codeOf(await unforced), outcomeOf(await forced)], [code, "swapped"]);
    source.load = () => Promise.resolve(configOf(first));
    assertEquals(outcomeOf(await reloader.reload()), "swapped");
  }
  // What is expired already may be replaced by anything.
  state.swap(configOf(expired));
  source.load = () => Promise.resolve(configOf(notYetValid));
  assertEquals(outcomeOf(await reloader.reload()), "swapped");
  await reloader.close();
});

test("Reloader dispatches swap and unchanged each time, and reject once until the error changes", async () => {
  const { source, reloader } = reloaderOf(configOf(first));
  const seen: string[] = [];
  for (const type of ["swap", "unchanged", "reject"] satisfies (keyof ReloaderEventMap)[]) {
    reloader.addEventListener(type, () => seen.push(type));
  }
  const load = async (load: () => Promise<TlsConfig>) => {
    source.load = load;
    await reloader.reload();
  };
  for (const message of ["one", "one", "two"]) await load(() => Promise.reject(new Error(message)));
  await load(() => Promise.resolve(configOf(first)));
  await load(() => Promise.reject(new Error("two")));
  await load(() => Promise.resolve(configOf(second)));
  assertEquals(seen, ["reject", "reject", "unchanged", "reject", "swap"]);
  await reloader.close();
});

test("Reloader emits a process warning for a rejection unless a listener prevents it", async () => {
  const state = new TlsState(configOf(first));
  const reloader = new Reloader(state, () => Promise.reject(new Error("a load that fails")));
  const warnings = on(process, "warning");
  await reloader.reload();
  for await (const [{ message }] of warnings) if (message === "a load that fails") break;
  await reloader.close();
});

test("Reloader emits a process warning for an error that cannot be printed", async () => {
  for (const name of ["message", "code", "name"]) {
    const warnings = on(process, "warning");
    const error = Object.defineProperty(new Error(`no ${name}`), name, { get: trap });
    const reloader = new Reloader(new TlsState(configOf(first)), () => Promise.reject(error));
    assertEquals(outcomeOf(await reloader.reload()), "rejected");
    const expected = name === "message" ? "what was thrown has no text" : `no ${name}`;
    for await (const [{ message }] of warnings) if (message === expected) break;
    await reloader.close();
  }
});

test("Reloader dispatches expiring for the first certificate and for each one that is swapped in", async () => {
  const [aging, old] = [
    await issueServer("aging", { notBefore: at(-5), notAfter: at(1) }),
    await issueServer("old", { notBefore: at(-100), notAfter: at(1) }),
  ];
  const { state, reloader } = reloaderOf(configOf(aging));
  assertEquals((await nextEvent(reloader, "expiring")).detail.certificate?.fingerprint256, aging.fingerprint256);
  const oldAlarm = nextEvent(reloader, "expiring");
  state.swap(configOf(old));
  assertEquals((await oldAlarm).detail.certificate?.fingerprint256, old.fingerprint256);
  await reloader.close();
});

test("Reloader.status() and metrics() show what is served and what failed, and nothing secret", async () => {
  const { source, state, reloader } = reloaderOf(configOf(first));
  assertEquals([reloader.status().inSync, reloader.status().lastAttempt], [undefined, undefined]);
  await reloader.reload();
  assertEquals(reloader.status().inSync, true);
  const { leaf } = state.current();
  const { fingerprint256, names, notAfter, secondsLeft } = reloader.status();
  assertEquals([fingerprint256, names, notAfter], [first.fingerprint256, ["localhost", "127.0.0.1"], leaf.notAfter]);
  assert(secondsLeft > 0 && secondsLeft <= 3_600);
  source.load = () => Promise.resolve(configOf(second));
  await reloader.reload();
  state.swap(configOf(first));
  assertEquals(reloader.status().inSync, false);
  source.load = () => Promise.reject(new Error("no"));
  await reloader.reload();
  const metrics = reloader.metrics();
  for (const line of metrics.trimEnd().split("\n")) {
    assertMatch(line, /^(# (HELP|TYPE) tls_reload_\w+ .+|tls_reload_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.]+)$/);
  }
  const seconds = leaf.notAfter.getTime() / 1000;
  assert(metrics.includes(`\ntls_reload_certificate_not_after_timestamp_seconds ${seconds}\n`));
  assert(metrics.includes('\ntls_reload_reloads_total{outcome="rejected"} 1\n'));
  assert(metrics.includes("\ntls_reload_last_reload_successful 0\n"));
  assert(metrics.includes("\ntls_reload_generation 2\n"));
  secretKey(first.key);
  secretKey(second.key);
  for (const value of [reloader, reloader.status(), metrics]) assertHidesSecrets(value);
  await reloader.close();
});

test("Reloader.status() and metrics() are out of sync while a file is missing, also from the start", () =>
  withFiles(async (files) => {
    const { reloader } = reloaderOf(configOf(first));
    const [path, late] = [files.path("missing"), await files.write("late", "")];
    reloader.watch([path], { pollIntervalMs: 1 });
    reloader.watch([late], { pollIntervalMs: Infinity });
    assertEquals(reloader.status().inSync, undefined);
    assert(!/in_sync|watch_checked/.test(reloader.metrics()));
    await until(() => reloader.status().watches[0]!.checkedAt !== undefined);
    const isOut = () =>
      assert(reloader.status().inSync === false && reloader.metrics().includes("\ntls_reload_in_sync 0\n"));
    isOut();
    assertEquals(outcomeOf(await reloader.reload()), "unchanged");
    isOut();
    await files.write("missing", "");
    await until(() => reloader.status().inSync === true);
    await reloader.close();
  }));

test("Reloader.metrics() shows how long ago files were read that are no longer read", () =>
  withFiles(async (files) => {
    const { reloader } = reloaderOf(configOf(first));
    const path = await files.write("file", "");
    reloader.watch([path], { pollIntervalMs: 1 });
    reloader.watch([path], { pollIntervalMs: Infinity, settleMs: Infinity });
    const checked = () => reloader.status().watches.map(({ checkedAt }) => checkedAt?.getTime() ?? NaN);
    const value = () => Number(/^tls_reload_watch_checked_timestamp_seconds (.+)$/m.exec(reloader.metrics())?.[1]);
    await until(() => reloader.status().inSync === true && checked()[0]! > checked()[1]!);
    assertEquals(value(), checked()[1]! / 1000);
    await reloader.close();
  }));

test("Reloader.watch() throws without a path, and for values that are not times", async () => {
  const { reloader } = reloaderOf(configOf(first));
  assertThrows(() => reloader.watch([]), TypeError, "at least one");
  for (const ms of [0, -1, NaN, 2 ** 31]) {
    assertThrows(() => reloader.watch(["a"], { pollIntervalMs: ms }), TypeError, "pollIntervalMs");
    assertThrows(() => reloader.watch(["a"], { settleMs: ms }), TypeError, "settleMs");
    assertThrows(() => reloader.every(ms), TypeError, "intervalMs");
  }
  await reloader.close();
});

test("Reloader.watch() and every() never fire with Infinity", () =>
  withFiles(async (files) => {
    const { source, reloader } = reloaderOf(configOf(first));
    source.load = () => Promise.reject(new Error("out of order"));
    const path = await files.write("file", "0");
    const rejected = nextEvent(reloader, "reject");
    reloader.watch([path], { pollIntervalMs: Infinity, settleMs: Infinity });
    reloader.every(Infinity);
    await rejected;
    await files.write("file", "1");
    await new Promise((resolve) => setTimeout(resolve, 50));
    assertEquals(reloader.status().reloads, { swapped: 0, unchanged: 0, pending: 0, rejected: 1 });
    await reloader.close();
  }));

test("Reloader.reload() gives up with FILES_UNSTABLE when the files change at every reading", () =>
  withFiles(async (files) => {
    const { source, state, reloader } = reloaderOf(configOf(first));
    const path = await files.write("generation", "0");
    let loads = 0;
    source.load = async () => {
      await files.write("generation", String(++loads));
      return configOf(second);
    };
    const rejected = nextEvent(reloader, "reject");
    const watch = reloader.watch([path], { pollIntervalMs: NEVER_MS, settleMs: NEVER_MS });
    assertEquals(codeOf((await rejected).detail), "FILES_UNSTABLE");
    watch[Symbol.dispose]();
    assertEquals([loads, state.generation], [6, 0]);
    await reloader.close();
  }));

test("Reloader.onSignal() reloads at the signal, and the signal does not end the process after close()", {
  skip: process.platform === "win32" && "Windows has no signals",
}, async () => {
  const { reloader } = reloaderOf(configOf(first));
  reloader.onSignal("SIGHUP");
  for (let count = 0; count < 2; count++) {
    const unchanged = nextEvent(reloader, "unchanged");
    process.kill(process.pid, "SIGHUP");
    await unchanged;
  }
  await reloader.close();
  const { lastAttempt } = reloader.status();
  const alive = setInterval(() => {}, NEVER_MS);
  const passed = once(process, "SIGHUP");
  process.kill(process.pid, "SIGHUP");
  await passed;
  clearInterval(alive);
  assertEquals(reloader.status().lastAttempt, lastAttempt);
});

test("Reloader.onSignal() adds one listener for all reloaders, and stops for each one that is closed", {
  skip: process.platform === "win32" && "Windows has no signals",
}, async () => {
  const before = process.listenerCount("SIGWINCH");
  const reloaders = Array.from({ length: 11 }, () => reloaderOf(configOf(first)).reloader);
  const triggers = reloaders.map((reloader) => reloader.onSignal("SIGWINCH"));
  assertEquals(process.listenerCount("SIGWINCH"), before + 1);
  triggers[0]![Symbol.dispose]();
  const unchanged = reloaders.slice(1).map((reloader) => nextEvent(reloader, "unchanged"));
  process.kill(process.pid, "SIGWINCH");
  await Promise.all(unchanged);
  assertEquals(reloaders[0]!.status().lastAttempt, undefined);
  for (const reloader of reloaders) await reloader.close();
});

test("Reloader.onSignal() throws UNSUPPORTED for a signal that cannot be caught, and in a worker", async () => {
  const { reloader } = reloaderOf(configOf(first));
  for (const signal of ["SIGKILL", "SIGSTOP", "SIGNONE" as "SIGHUP"] as const) {
    assertEquals(assertThrows(() => reloader.onSignal(signal), TlsReloadError).code, "UNSUPPORTED");
  }
  if (process.versions["deno"]) {
    for (let count = 0; count < 2; count++) {
      const { code, cause } = assertThrows(() => reloader.onSignal("SIGSEGV"), TlsReloadError);
      assertEquals(code, "UNSUPPORTED");
      assert(cause);
    }
  }
  await reloader.close();
  assert(isMainThread);
  const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  const worker = new Worker(
    new URL(`data:text/javascript,${
      encodeURIComponent(`
      import { parentPort, workerData } from "node:worker_threads";
      import { TlsConfig, TlsState } from ${module("../../mod.ts")};
      import { Reloader } from ${module("../../src/reload.ts")};
      const reloader = new Reloader(new TlsState(new TlsConfig(workerData)), () => {});
      try { reloader.onSignal("SIGHUP"); } catch (error) { parentPort.postMessage(error.code); }
      await reloader.close();
    `)
    }`),
    { workerData: { cert: first.cert, key: first.key } },
  );
  assertEquals((await once(worker, "message"))[0], "UNSUPPORTED");
  await worker.terminate();
});

test("Reloader.every() reloads again and again until it is disposed of", async () => {
  const { reloader } = reloaderOf(configOf(first));
  const every = reloader.every(1);
  for (let count = 0; count < 3; count++) await nextEvent(reloader, "unchanged");
  every[Symbol.dispose]();
  await reloader.reload(); // ends one that may have been under way
  const { lastAttempt } = reloader.status();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(reloader.status().lastAttempt, lastAttempt);
  await reloader.close();
});

test("Reloader.every() retries soon after a rejection, later after each further one, and within the interval", async () => {
  /** One whose source has failed so often, fails once more, and holds something new after that. */
  const failing = async (failures: number, intervalMs: number) => {
    const { source, state, reloader } = reloaderOf(configOf(first));
    source.load = () => Promise.reject(new Error("out of order"));
    for (let count = 0; count < failures; count++) await reloader.reload();
    source.load = () => {
      source.load = () => Promise.resolve(configOf(second));
      return Promise.reject(new Error("still out of order"));
    };
    reloader.every(intervalMs);
    return { state, reloader };
  };
  const [soon, late, often] = [await failing(1, NEVER_MS), await failing(20, NEVER_MS), await failing(20, 1)];
  for (const { state, reloader } of [soon, often]) while (state.generation === 0) await nextEvent(reloader, "swap");
  assertEquals([soon, late, often].map(({ reloader }) => reloader.status().reloads.rejected), [2, 20, 21]);
  for (const { reloader } of [soon, late, often]) await reloader.close();
});

test("Reloader.close() is idempotent, waits for a running reload, and is called when the signal aborts", async () => {
  const { source, state } = reloaderOf(configOf(first));
  const aborter = new AbortController();
  let isLoaded = false;
  source.load = async () => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    isLoaded = true;
    return configOf(second);
  };
  const reloader = new Reloader(state, () => source.load(), { signal: aborter.signal });
  reloader.every(NEVER_MS);
  const reloading = reloader.reload();
  aborter.abort();
  await Promise.all([reloader.close(), reloader[Symbol.asyncDispose]()]);
  assert(isLoaded);
  assertEquals(outcomeOf(await reloading), "swapped");
  assertInstanceOf(reloader, EventTarget);
});
