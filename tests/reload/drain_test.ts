import { assert, assertEquals, assertMatch } from "@std/assert";
import { createServer } from "node:net";
import test from "node:test";
import { TlsState } from "../../mod.ts";
import { Drain, type Drainable } from "../../src/accept/drain.ts";
import { type DrainProgress, DrainTally } from "../../src/accept/drain_tally.ts";
import { Reloader } from "../../src/reload.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { closed, configOf, dial, echoServer, portOf } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const server = await issueServer("server");
const [kept, removed] = [await issueCa("kept"), await issueCa("removed")];
const [stays, leaves] = [
  await issueClient("stays", { issuer: kept }),
  await issueClient("leaves", { issuer: removed }),
];
const trusting = (ca: string) => configOf(server, { clientAuth: { ca, mode: "required" } });
const [both, one] = [trusting(kept.cert + removed.cert), trusting(kept.cert)];
const pair = ({ cert, key }: { cert: string; key: string }) => ({ cert, key });
const silent: Drainable = { endGently() {}, destroy() {} };

test("DrainTally counts each connection once, by the way that it ended, and tells of the first and the last", async () => {
  const tally = new DrainTally();
  const told: DrainProgress[] = [];
  const listening = tally.subscribe((progress) => told.push(progress));
  const drain = new Drain(tally);
  const connections = Array.from({ length: 4 }, () => ({ ...silent }));
  const [closing, untrusted, ...stubborn] = connections;
  drain.begin(connections.slice(0, 2), { gentleMs: 10, forceMs: Infinity });
  drain.begin(connections, { gentleMs: 10, forceMs: 20 });
  assertEquals(tally.status, { ending: 4, gently: 0, forced: 0, untrusted: 0 });
  assertEquals([drain.forget(closing!), drain.forget(closing!), drain.forget(silent)], [true, false, false]);
  assert(drain.forget(untrusted!, "untrusted"));
  await until(() => tally.status.ending === 0);
  tally.disconnect(0);
  tally.disconnect(3);
  assertEquals(told.length, 2, "a listener is not called within a count");
  await Promise.resolve();
  listening[Symbol.dispose]();
  tally.disconnect(1);
  assertEquals(tally.status, { ending: 0, gently: 1, forced: stubborn.length, untrusted: 5 });
  assertEquals(told, [
    { phase: "started", connections: 2, forced: 0, untrusted: 0 },
    { phase: "ended", connections: 4, forced: 2, untrusted: 1 },
    { phase: "ended", connections: 3, forced: 0, untrusted: 3 },
  ]);
});

test("Reloader tells how many clients of a removed authority it has disconnected", async () => {
  const state = new TlsState(both);
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const reloader = new Reloader(state, () => Promise.resolve(one), {
    logger: { debug: log, info: log, warn: log, error: log },
  });
  const echo = await echoServer(state);
  const [staying, leaving] = [await dial(echo.port, pair(stays)), await dial(echo.port, pair(leaves))];
  await until(() => reloader.status().generations[0]!.connections === 2);
  const told: DrainProgress[] = [];
  reloader.addEventListener("drain", ({ detail }) => told.push(detail));
  const end = closed(leaving);
  await reloader.reload();
  await end;
  assertEquals(told, [{ phase: "ended", connections: 1, forced: 0, untrusted: 1 }]);
  assertEquals(lines.at(-1), "tls-reload drain phase=ended connections=1 forced=0 untrusted=1");
  const { drain, generations } = reloader.status();
  assertEquals(drain, { ending: 0, gently: 0, forced: 0, untrusted: 1 });
  assertEquals(generations, [{ generation: 0, connections: 1 }, { generation: 1, connections: 0 }]);
  assertMatch(
    reloader.metrics(),
    /^tls_reload_connections\{generation="0"\} 1\n(.*\n)*tls_reload_drained.*untrusted"\} 1$/m,
  );
  staying.destroy();
  await reloader.close();
  await echo[Symbol.asyncDispose]();
});

test("Reloader tells when the connections of a replaced generation begin to end, and when all have ended", async () => {
  const state = new TlsState(both, { drain: { when: "always", graceMs: 10_000, spreadMs: 20 } });
  const reloader = new Reloader(state, () => Promise.resolve(one));
  const told: DrainProgress[] = [];
  reloader.addEventListener("drain", ({ detail }) => told.push(detail));
  const listener = createServer((socket) => {
    // A server that reads notices that the client has closed; the echo of Deno stops reading once its side has ended.
    state.acceptor().accept(socket).then((secure) => secure.resume(), () => {});
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const clients = [await dial(portOf(listener), pair(stays)), await dial(portOf(listener), pair(stays))];
  await until(() => reloader.status().generations[0]!.connections === 2);
  await reloader.reload();
  await Promise.all(clients.map(closed));
  await until(() => reloader.status().drain.ending === 0);
  assertEquals(told, [
    { phase: "started", connections: 2, forced: 0, untrusted: 0 },
    { phase: "ended", connections: 2, forced: 0, untrusted: 0 },
  ]);
  assertEquals(reloader.status().drain, { ending: 0, gently: 2, forced: 0, untrusted: 0 });
  await reloader.close();
  await new Promise((resolve) => listener.close(resolve));
});
