import { assert, assertEquals, assertThrows } from "@std/assert";
import { rename, writeFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { loadTlsConfig, type TlsConfig, type TlsReloadError, TlsState } from "../../mod.ts";
import { Reloader, type ReloaderOptions } from "../../src/reload.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { configOf, echoServer, visit } from "../support/peers.ts";
import { until } from "../support/tcp.ts";
import { BY_EVENTS, nextEvent } from "./rotating_files.ts";

const HOUR_MS = 3_600_000;
const first = await issueServer("first");
/** Certificates hold whole seconds. */
const secondsAhead = (seconds: number) => new Date((Math.ceil(Date.now() / 1000) + seconds) * 1000);
const issueAhead = (seconds: number, notAfter = new Date(Date.now() + 100 * HOUR_MS)) => {
  return issueServer("ahead", { notBefore: secondsAhead(seconds), notAfter });
};

/** A reloader whose source is a variable. */
function reloaderOf(options: ReloaderOptions = {}) {
  const source = { config: configOf(first) };
  const state = new TlsState(source.config);
  const load = (): Promise<TlsConfig> => Promise.resolve(source.config);
  const reloader = new Reloader(state, load, options);
  reloader.addEventListener("reject", (event) => event.preventDefault());
  const offer = (issued: Issued) => {
    source.config = configOf(issued);
    return reloader.reload();
  };
  return { source, state, reloader, offer };
}

/** Visits a server all the while, and asserts that the next certificate is served from the second of its validity. */
async function assertServedInTime(port: number, next: Issued): Promise<void> {
  const { notBefore } = next.certificate;
  for (;;) {
    const began = Date.now();
    const { fingerprint256 } = await visit(port);
    const ended = Date.now();
    if (fingerprint256 === next.fingerprint256) {
      assert(ended >= notBefore.getTime(), "it was served before it was valid");
      return;
    }
    assert(began < notBefore.getTime() + 1_000, `it is not served ${began - notBefore.getTime()} ms after it is valid`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test(
  "Reloader swaps a certificate that was not valid yet within the second in which it becomes valid, reloaded by signal",
  {
    skip: process.platform === "win32" && "Windows has no signals",
  },
  async () => {
    const { source, state, reloader } = reloaderOf();
    const server = await echoServer(state);
    reloader.onSignal("SIGHUP");
    const next = await issueAhead(2);
    source.config = configOf(next);
    const pending = nextEvent(reloader, "pending");
    process.kill(process.pid, "SIGHUP");
    const { validFrom } = (await pending).detail;
    assertEquals(validFrom, next.certificate.notBefore);
    const status = reloader.status();
    assertEquals(status.pending, { fingerprint256: next.fingerprint256, validFrom });
    assertEquals([status.inSync, status.failuresInARow, status.lastError], [false, 0, undefined]);
    assert(
      reloader.metrics().includes(`\ntls_reload_pending_valid_from_timestamp_seconds ${validFrom.getTime() / 1000}\n`),
    );
    const swapped = nextEvent(reloader, "swap");
    await Promise.all([assertServedInTime(server.port, next), swapped]);
    assertEquals((await swapped).detail.previous.leaf.fingerprint256, first.fingerprint256);
    const after = reloader.status();
    assertEquals([after.pending, after.inSync, after.generation], [undefined, true, 1]);
    assertEquals(after.reloads, { swapped: 1, unchanged: 0, pending: 1, rejected: 0 });
    await server[Symbol.asyncDispose]();
    await reloader.close();
  },
);

test("Reloader swaps a certificate that was not valid yet within the second in which it becomes valid, found by watch()", () =>
  withFiles(async (files) => {
    const [cert, key] = [await files.write("cert", first.cert), await files.write("key", first.key)];
    const load = () => loadTlsConfig(cert, key);
    const state = new TlsState(await load());
    const reloader = new Reloader(state, load);
    reloader.addEventListener("reject", (event) => event.preventDefault());
    const server = await echoServer(state);
    const looked = nextEvent(reloader, "unchanged");
    reloader.watch([cert, key], BY_EVENTS);
    await looked;
    const next = await issueAhead(2);
    let announced = 0;
    reloader.addEventListener("pending", () => announced++);
    for (const [path, content] of [[key, next.key], [cert, next.cert]] as const) {
      await writeFile(`${path}.new`, content);
      await rename(`${path}.new`, path);
    }
    await assertServedInTime(server.port, next);
    assertEquals([announced, reloader.status().inSync], [1, true]);
    await server[Symbol.asyncDispose]();
    await reloader.close();
  }));

test("Reloader announces a pending certificate once, and swaps it once", async () => {
  const { state, reloader, offer } = reloaderOf();
  let announced = 0;
  reloader.addEventListener("pending", () => announced++);
  const next = await issueAhead(1);
  for (let count = 0; count < 3; count++) assertEquals((await offer(next)).outcome, "pending");
  const other = await issueAhead(1);
  assertEquals((await offer(other)).outcome, "pending");
  assertEquals(announced, 2);
  // Reloads at the moment of the swap do not make it twice.
  const isSwapped = () => {
    void reloader.reload();
    return state.generation > 0;
  };
  await until(isSwapped);
  await reloader.close();
  assertEquals([state.generation, state.current().leaf.fingerprint256], [1, other.fingerprint256]);
});

test("Reloader forgets a pending certificate when its source holds another, or the current one again", async () => {
  const { state, reloader, offer } = reloaderOf();
  const [ahead, valid] = [await issueAhead(1), await issueServer("valid")];
  for (const issued of [first, valid]) {
    assertEquals((await offer(ahead)).outcome, "pending");
    await offer(issued);
    assertEquals([reloader.status().pending, reloader.status().inSync], [undefined, true]);
  }
  await new Promise((resolve) => setTimeout(resolve, ahead.certificate.notBefore.getTime() - Date.now() + 100));
  assertEquals([state.generation, state.current().leaf.fingerprint256], [1, valid.fingerprint256]);
  await reloader.close();
});

test("Reloader keeps a pending certificate when its source fails, and reports the failure", async () => {
  const { source, reloader, offer } = reloaderOf();
  const next = await issueAhead(1);
  await offer(next);
  source.config = undefined as never;
  assertEquals((await reloader.reload()).outcome, "rejected");
  const { detail } = await nextEvent(reloader, "swap");
  assertEquals(detail.config.leaf.fingerprint256, next.fingerprint256);
  assertEquals([reloader.status().failuresInARow, reloader.status().inSync], [1, false]);
  await reloader.close();
});

test("Reloader swaps a certificate that is not valid yet at once by force, or in place of an expired one", async () => {
  const { state, reloader, offer } = reloaderOf();
  const ahead = await issueAhead(3_600);
  await offer(ahead);
  assertEquals((await reloader.reload({ force: true })).outcome, "swapped");
  assertEquals(reloader.status().pending, undefined);
  const notAfter = new Date(Date.now() - HOUR_MS);
  state.swap(configOf(await issueServer("expired", { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter })));
  assertEquals((await reloader.reload()).outcome, "swapped");
  await reloader.close();
});

test("Reloader rejects a certificate whose validity begins beyond 'pendingLimitMs', a day by default", async () => {
  const [hour, twoDays] = [await issueAhead(3_600), await issueAhead(48 * 3_600)];
  for (
    const [pendingLimitMs, issued, outcome] of [
      [undefined, hour, "pending"],
      [undefined, twoDays, "rejected"],
      [HOUR_MS / 2, hour, "rejected"],
      [Infinity, twoDays, "pending"],
    ] as const
  ) {
    const { reloader, offer } = reloaderOf({ pendingLimitMs });
    const result = await offer(issued);
    assertEquals(result.outcome, outcome);
    if (result.outcome === "rejected") {
      assertEquals((result.error as TlsReloadError).code, "CERTIFICATE_NOT_YET_VALID");
    }
    await reloader.close();
  }
  assertThrows(() => reloaderOf({ pendingLimitMs: 0 }), TypeError, "pendingLimitMs");
});

test("Reloader swaps in a pending certificate soon after the clock was set ahead, unless it has expired by then", async () => {
  const now = Date.now;
  const valid = await issueServer("valid for long", { notAfter: new Date(now() + 1_000 * HOUR_MS) });
  for (const [hours, outcome] of [[2, "swap"], [200, "reject"]] as const) {
    const { state, reloader, offer } = reloaderOf();
    state.swap(configOf(valid));
    await offer(await issueAhead(3_600));
    try {
      Date.now = () => now() + hours * HOUR_MS;
      const { detail } = await nextEvent(reloader, outcome);
      if (detail.outcome === "rejected") assertEquals((detail.error as TlsReloadError).code, "CERTIFICATE_EXPIRED");
    } finally {
      Date.now = now;
    }
    assertEquals(reloader.status().pending, undefined);
    await reloader.close();
  }
});

test("Reloader.close() ends the wait for a pending certificate", async () => {
  const { state, reloader, offer } = reloaderOf();
  const next = await issueAhead(1);
  const offered = offer(next);
  await reloader.close();
  assertEquals((await offered).outcome, "pending");
  assertEquals(reloader.status().pending, undefined);
  await new Promise((resolve) => setTimeout(resolve, next.certificate.notBefore.getTime() - Date.now() + 100));
  assertEquals(state.generation, 0);
});
