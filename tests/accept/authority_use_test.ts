import { assertEquals, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import test from "node:test";
import { createServer, type Server } from "node:tls";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { addFollower } from "../../src/accept/tls_state.ts";
import { attach } from "../../src/node.ts";
import { issueCa, issueClient, type Issued, issueServer } from "../support/certificates.ts";
import { closed, configOf, dial, echoServer, portOf, visit } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const server = await issueServer("server");
const [old, next, unused] = [await issueCa("old"), await issueCa("next"), await issueCa("unused")];
const oldClient = await issueClient("old client", { issuer: old });
const newClient = await issueClient("new client", { issuer: next });
const trusting = (...authorities: readonly Issued[]) =>
  configOf(server, { clientAuth: { mode: "required", ca: authorities.map(({ cert }) => cert).join("") } });
const DAY_MS = 86_400_000;

/** What is counted, by the name of the authority. */
function countsOf(state: TlsState): Record<string, [live: number, total: number, isCurrent: boolean]> {
  return Object.fromEntries(
    state.authorities().map(({ subject, liveConnections, totalConnections, isCurrent }) => [
      subject.replace("CN=", ""),
      [liveConnections, totalConnections, isCurrent],
    ]),
  );
}

interface Serving {
  readonly port: number;
  stop(): Promise<unknown>;
}

/** Ways to serve a state. */
const SERVERS: Record<string, (state: TlsState) => Promise<Serving>> = {
  "state.acceptor()": async (state) => {
    const echo = await echoServer(state);
    return { port: echo.port, stop: async () => await echo[Symbol.asyncDispose]() };
  },
  "attach()": async (state) => {
    const greet: Server = createServer(state.tls, (socket) => {
      socket.on("error", () => socket.destroy()).write("generation 0\n");
      socket.pipe(socket);
    });
    const attachment = attach(state, greet);
    await once(greet.listen(0, "127.0.0.1"), "listening");
    const stop = () => {
      attachment[Symbol.dispose]();
      return new Promise((resolve) => greet.close(resolve));
    };
    return { port: portOf(greet), stop };
  },
};

for (const [name, serve] of Object.entries(SERVERS)) {
  test(`swap() removes an authority once its last client has left, by ${name}`, async () => {
    const state = new TlsState(trusting(old));
    const { port, stop } = await serve(state);
    const expectUnused = { withinMs: 200 };
    const staying = await dial(port, oldClient);
    await until(() => countsOf(state)["old"]![0] === 1);
    state.swap(trusting(old, next), { expectUnused });
    await visit(port, oldClient);
    const moved = await dial(port, newClient);
    await until(() => countsOf(state)["old"]![0] === 1 && countsOf(state)["next"]![0] === 1);
    assertEquals(countsOf(state), { old: [1, 2, true], next: [1, 1, true] });

    const both = state.current();
    const error = assertThrows(() => state.swap(trusting(next), { expectUnused }), TlsReloadError);
    assertEquals(error.code, "AUTHORITY_IN_USE");
    for (const shown of ['"CN=old"', old.fingerprint256, oldClient.fingerprint256]) {
      assertMatch(error.message, new RegExp(shown));
    }
    assertStrictEquals(state.current(), both);
    assertEquals([state.generation, (await visit(port, oldClient)).greeting !== undefined], [1, true]);

    // An open connection is a use, however old it is.
    await until(() => countsOf(state)["old"]![0] === 1);
    await delay(5);
    assertThrows(
      () => state.swap(trusting(next), { expectUnused: { withinMs: 1 } }),
      TlsReloadError,
      "open connections: 1",
    );

    staying.destroy();
    await until(() => countsOf(state)["old"]![0] === 0);
    assertThrows(() => state.swap(trusting(next), { expectUnused: { withinMs: DAY_MS } }), TlsReloadError);
    await delay(expectUnused.withinMs);
    state.swap(trusting(next), { expectUnused });
    assertEquals(countsOf(state), { next: [1, 1, true], old: [0, 3, false] });
    const { lastUsed, lastClient, notAfter } = state.authorities()[1]!;
    assertEquals([lastClient, notAfter], [oldClient.fingerprint256, old.certificate.notAfter]);
    assertEquals(Date.now() - lastUsed!.getTime() < DAY_MS, true);
    assertEquals((await visit(port, oldClient)).greeting, undefined);
    assertEquals(countsOf(state)["old"], [0, 3, false]);

    moved.end();
    await closed(moved);
    await stop();
  });
}

test("swap() does not remove an intermediate that is listed while a client needs it", async () => {
  const below = await issueCa("below", { issuer: old });
  const { cert, key } = await issueClient("client of below", { issuer: below });
  const [leaf = ""] = cert.split(/(?<=-----END CERTIFICATE-----\n)/);
  const state = new TlsState(trusting(old, below));
  const { port, stop } = await SERVERS["state.acceptor()"]!(state);
  const staying = await dial(port, { cert: leaf, key });
  await until(() => countsOf(state)["old"]![0] === 1);
  const error = assertThrows(
    () => state.swap(trusting(old), { expectUnused: { withinMs: DAY_MS } }),
    TlsReloadError,
    '"CN=below"',
  );
  assertEquals(error.code, "AUTHORITY_IN_USE");
  staying.destroy();
  await stop();
});

test("clients count for the first of two certificates of one authority, so that the second one can go", async () => {
  const renewed = await issueCa("old", { keys: old.keys });
  const state = new TlsState(trusting(renewed, old));
  const { port, stop } = await SERVERS["state.acceptor()"]!(state);
  const staying = await dial(port, oldClient);
  await until(() => state.authorities()[0]!.liveConnections === 1);
  assertEquals(state.authorities().map(({ totalConnections }) => totalConnections), [1, 0]);
  state.swap(trusting(renewed), { expectUnused: { withinMs: DAY_MS } });
  await delay(20);
  assertEquals([staying.destroyed, staying.readableEnded], [false, false]);
  staying.destroy();
  await stop();
});

test("swap() knows an authority that was removed and added again", async () => {
  const state = new TlsState(trusting(old));
  const { port, stop } = await SERVERS["state.acceptor()"]!(state);
  await visit(port, oldClient);
  await until(() => countsOf(state)["old"]![0] === 0);
  for (const config of [trusting(next), trusting(unused), trusting(old, next)]) state.swap(config);
  const expectUnused = { withinMs: DAY_MS };
  assertThrows(() => state.swap(trusting(next), { expectUnused }), TlsReloadError, "removed");
  state.swap(trusting(old), { expectUnused });
  await stop();
});

test("state.authorities() does not count clients that allowClient refuses", async () => {
  const state = new TlsState(trusting(old), { allowClient: () => false });
  const { port, stop } = await SERVERS["state.acceptor()"]!(state);
  await visit(port, oldClient);
  const { lastUsed, lastClient } = state.authorities()[0]!;
  assertEquals([countsOf(state), lastUsed, lastClient], [{ old: [0, 0, true] }, undefined, undefined]);
  await stop();
});

test("swap() throws UNSUPPORTED for a removal while a server that does not show its clients follows", () => {
  const state = new TlsState(trusting(old, unused));
  const follower = { hidesClients: true, requireServable() {}, follow() {} };
  const disposer = addFollower(state, follower);
  const expectUnused = { withinMs: 1_000 };
  const error = assertThrows(() => state.swap(trusting(old), { expectUnused }), TlsReloadError);
  assertEquals([error.code, state.generation], ["UNSUPPORTED", 0]);
  state.swap(trusting(unused, old, next), { expectUnused });
  disposer[Symbol.dispose]();
  state.swap(trusting(old), { expectUnused });
  assertEquals(state.generation, 2);
});

test("swap() refuses options that are not its own", () => {
  const state = new TlsState(trusting(old));
  for (const options of [{ expectUnusd: {} }, { expectUnused: {} }, { expectUnused: { withinMs: 0 } }, null]) {
    assertThrows(() => state.swap(trusting(next), options as never), TypeError);
  }
  assertEquals(state.generation, 0);
});
