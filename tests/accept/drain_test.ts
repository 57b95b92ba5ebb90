import { assert, assertEquals, assertThrows } from "@std/assert";
import { once } from "node:events";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { createServer } from "node:net";
import process from "node:process";
import { duplexPair } from "node:stream";
import test from "node:test";
import { connect } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { type DrainOptions, TlsState } from "../../mod.ts";
import { Drain, type Drainable } from "../../src/accept/drain.ts";
import { drainLimits, drainPolicyOf } from "../../src/accept/drain_options.ts";
import { handshakesOf } from "../../src/accept/tls_acceptor.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf, dial, dialTcp, echoServer, portOf } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const isBun = process.versions["bun"] !== undefined;
const server = await issueServer("drain");
const [kept, removed] = [await issueCa("kept"), await issueCa("removed")];
const [stays, leaves] = [
  await issueClient("stays", { issuer: kept }),
  await issueClient("leaves", { issuer: removed }),
];
const pair = ({ cert, key }: { cert: string; key: string }) => ({ cert, key });
const both = configOf(server, { clientAuth: { ca: kept.cert + removed.cert, mode: "optional" } });
const one = configOf(server, { clientAuth: { ca: kept.cert, mode: "optional" } });
const required = configOf(server, { clientAuth: { ca: kept.cert, mode: "required" } });

/** A connection that takes note of its ends. */
class Noted implements Drainable {
  gentlyAt: number | undefined;
  destroyedAt: number | undefined;

  endGently(): void {
    this.gentlyAt = performance.now();
  }

  destroy(): void {
    this.destroyedAt = performance.now();
  }
}

/** A drain that takes longer than the tests, so that only refused clients are disconnected meanwhile. */
const SLOW_DRAIN = { drain: { spreadMs: 600_000 } };

/** How many of the times are in each tenth of a second. */
function tenths(times: readonly number[]): number[] {
  const first = Math.min(...times);
  return [...Map.groupBy(times, (time) => Math.floor((time - first) / 100)).values()].map(({ length }) => length);
}

/** Keeps the event loop from all else. */
function stall(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test("Drain spreads the gentle ends of 500 connections over its time, and those by force, also after stalls", async () => {
  const drain = new Drain<Noted>();
  const connections = Array.from({ length: 500 }, () => new Noted());
  drain.begin(connections, { gentleMs: 1_000, forceMs: 2_000 });
  for (const atMs of [400, 1_700]) setTimeout(() => stall(300), atMs);
  while (connections.some(({ destroyedAt }) => destroyedAt === undefined)) await delay(20);
  for (const end of ["gentlyAt", "destroyedAt"] as const) {
    const counts = tenths(connections.map((connection) => connection[end]!));
    assert(Math.max(...counts) < 0.167 * 500, String(counts));
  }
  for (const { gentlyAt, destroyedAt } of connections) assert(destroyedAt! - gentlyAt! > 500);
});

test("Drain ends a connection once, at its first moments, and none that has ended", async () => {
  const drain = new Drain<Noted>();
  const [ending, ended] = [new Noted(), new Noted()];
  const begin = performance.now();
  drain.begin([ending, ended], { gentleMs: 0, forceMs: 100 });
  drain.forget(ended);
  drain.begin([ending], { gentleMs: 0, forceMs: 60_000 });
  while (ending.destroyedAt === undefined) await delay(10);
  assert(ending.destroyedAt - begin < 30_000);
  assertEquals([ended.gentlyAt, ended.destroyedAt], [undefined, undefined]);
});

test("Drain never ends a connection by force if it may take for ever", async () => {
  const drain = new Drain<Noted>();
  const connection = new Noted();
  drain.begin([connection], { gentleMs: 0, forceMs: Infinity });
  while (connection.gentlyAt === undefined) await delay(1);
  await delay(20);
  assertEquals(connection.destroyedAt, undefined);
});

test("Drain blocks the event loop for a few milliseconds at most, with 5,000 connections at once", async () => {
  const drain = new Drain<Noted>();
  const busy = () => {
    const until = performance.now() + 0.05;
    while (performance.now() < until);
  };
  const connections = Array.from({ length: 5_000 }, () => ({ endGently: busy, destroy: busy, isEnded: false }));
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const ends: number[] = [];
  for (const connection of connections) connection.destroy = () => void (busy(), ends.push(turns));
  drain.begin(connections as unknown as Noted[], { gentleMs: 0, forceMs: 0 });
  while (ends.length < connections.length) await delay(5);
  clearInterval(timer);
  // 250 ms of work: other timers have had their turns.
  assert(new Set(ends).size > 20, `${new Set(ends).size} turns`);
});

test("drainLimits() decides by the option 'when', and by whether trust was taken away", () => {
  const limits = (options: DrainOptions, isUntrusted: boolean) => drainLimits(drainPolicyOf(options), isUntrusted);
  assertEquals(limits({}, false), undefined);
  assertEquals(limits({}, true), { gentleMs: 5_000, forceMs: 10_000 });
  assertEquals(limits({ when: "never" }, true), undefined);
  assertEquals(limits({ when: "always" }, false), { gentleMs: 10_000, forceMs: 30_000 });
  assertEquals(limits({ when: "always" }, true), { gentleMs: 5_000, forceMs: 10_000 });
  assertEquals(limits({ when: "always", graceMs: 0 }, false), { gentleMs: 0, forceMs: 0 });
  assertEquals(limits({ when: "always", graceMs: Infinity }, false), { gentleMs: 10_000, forceMs: Infinity });
});

test("TlsState refuses options of a drain that it does not have", () => {
  const cases = [
    { when: "sometimes" },
    { graceMs: -1 },
    { graceMs: NaN },
    { spreadMs: Infinity },
    { spreadMs: "1" },
    { timeoutMs: 1 },
  ];
  for (const drain of cases) assertThrows(() => new TlsState(one, { drain } as never), TypeError);
  assertThrows(() => new TlsState(one, { endWithClientCertificate: 1 } as never), TypeError);
});

test("acceptor() disconnects a live client whose authority is removed at once, all others live", async () => {
  const state = new TlsState(both, SLOW_DRAIN);
  const echo = await echoServer(state);
  const [stranger, staying, leaving] = [
    await dial(echo.port),
    await dial(echo.port, pair(stays)),
    await dial(echo.port, pair(leaves)),
  ];
  await until(() => state.generations[0]!.connections === 3);
  const end = closed(leaving);
  state.swap(one);
  await end;
  for (const client of [stranger, staying]) {
    const data = once(client, "data");
    client.write("still here\n");
    await data;
  }
  assertEquals(state.generations, [{ generation: 0, connections: 2 }, { generation: 1, connections: 0 }]);
  // Clients must have a certificate now: one without must go.
  const gone = closed(stranger);
  state.swap(required);
  await gone;
  assertEquals(staying.destroyed, false);
  staying.destroy();
  await until(() => state.generations.length === 1);
  await echo[Symbol.asyncDispose]();
});

test('acceptor() keeps every connection with "never"', async () => {
  const state = new TlsState(both, { drain: { when: "never" } });
  const echo = await echoServer(state);
  const leaving = await dial(echo.port, pair(leaves));
  await until(() => state.generations[0]!.connections === 1);
  state.swap(one);
  await delay(100);
  const data = once(leaving, "data");
  leaving.write("still here\n");
  await data;
  leaving.destroy();
  await echo[Symbol.asyncDispose]();
});

test("acceptor() judges a live client that the state has forgotten by what its own handshake has shown", async () => {
  const state = new TlsState(both);
  const echo = await echoServer(state);
  const staying = await dial(echo.port, pair(stays));
  await until(() => state.generations[0]!.connections === 1);
  const { verifiedClients } = handshakesOf(state.acceptor()).verification!;
  const known = verifiedClients.get(stays.fingerprint256)!;
  for (let index = 0; index < 10_000; index++) verifiedClients.remember(`other ${index}`, known);
  assertEquals(verifiedClients.get(stays.fingerprint256), undefined);
  state.swap(one);
  await delay(100);
  const data = once(staying, "data");
  staying.write("still here\n");
  await data;
  staying.destroy();
  await echo[Symbol.asyncDispose]();
});

test('acceptor() ends connections of replaced generations with "always", and by force after graceMs', async () => {
  const state = new TlsState(one, { drain: { when: "always", graceMs: 300, spreadMs: 50 } });
  const listener = createServer((socket) => {
    // Keeps its connections, whatever the client does.
    state.acceptor().accept(socket).then((secure) => secure.resume(), () => {});
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const polite = await dial(portOf(listener));
  // A client that never ends its side.
  const stubborn = await dialTcp(portOf(listener));
  const [near, far] = duplexPair();
  stubborn.pipe(near);
  near.pipe(stubborn, { end: false });
  await once(connect({ socket: far, rejectUnauthorized: false }), "secureConnect");
  await until(() => state.generations[0]!.connections === 2);
  const begin = performance.now();
  state.swap(one);
  await closed(polite);
  await until(() => state.generations.length === 1);
  // Bun closes a connection at once when the server ends its side.
  if (!isBun) assert(performance.now() - begin >= 249, "by force after graceMs");
  stubborn.destroy();
  const fresh = await dial(portOf(listener));
  await delay(400);
  assertEquals(fresh.destroyed, false);
  fresh.destroy();
  listener.close();
});

test("acceptor() lets an http.Server finish its response, and ends idle connections", async () => {
  const state = new TlsState(one, { drain: { when: "always", spreadMs: 50 } });
  const release = Promise.withResolvers<void>();
  const app: HttpServer = createHttpServer(async (request, response) => {
    if (request.url === "/slow") await release.promise;
    if (request.url === "/streamed") {
      response.write("first ");
      await release.promise;
    }
    response.end("done");
  });
  // Deno closes connections of a server that does not listen.
  Object.defineProperty(app, "listening", { value: true });
  const listener = createServer((socket) => {
    state.acceptor().accept(socket).then((secure) => app.emit("connection", secure), () => {});
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const [idle, slow, streamed] = await Promise.all([0, 1, 2].map(() => HttpConnection.open(portOf(listener))));
  for (const connection of [idle, slow, streamed]) await connection!.ask("/");
  slow!.send("/slow");
  streamed!.send("/streamed");
  const { headers } = await streamed!.head();
  assertEquals(headers.get("connection"), "keep-alive");
  state.swap(one);
  await closed(idle!.socket);
  await delay(100);
  release.resolve();
  const answer = await slow!.answer();
  assertEquals([answer.headers.get("connection"), answer.text], ["close", "done"]);
  let body = "";
  for await (const bytes of streamed!.body(headers)) body += new TextDecoder().decode(bytes);
  assertEquals(body, "first done");
  await Promise.all([slow, streamed].map((connection) => closed(connection!.socket)));
  listener.close();
});

test("endWithClientCertificate ends a connection when its client's certificate does", async () => {
  const state = new TlsState(one, { endWithClientCertificate: true });
  const echo = await echoServer(state);
  const staying = await dial(echo.port, pair(stays));
  const connectFor = async (ms: number) => {
    const expiring = await issueClient("expires", { issuer: kept, notAfter: new Date(Date.now() + ms) });
    return await dial(echo.port, pair(expiring));
  };
  // On a busy machine the certificate expires before its client has connected.
  const leaving = await connectFor(2_500).catch(() => connectFor(10_000));
  await closed(leaving);
  assertEquals(staying.destroyed, false);
  staying.destroy();
  await echo[Symbol.asyncDispose]();
});
