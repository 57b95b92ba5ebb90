import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { once } from "node:events";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { duplexPair } from "node:stream";
import test from "node:test";
import { connect, type TLSSocket } from "node:tls";
import { type AcceptOptions, type TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { TlsAcceptor } from "../../src/accept/tls_acceptor.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { closed, configOf, dialTcp, echoServer, OpensslClient, portOf } from "../support/peers.ts";
import { until } from "../support/tcp.ts";
import { fastestOf } from "../support/timing.ts";

const issued = await issueServer("handshakes");
const plain = configOf(issued);
const [oldCa, newCa] = [await issueCa("old CA"), await issueCa("new CA")];
const oldClient = await issueClient("client", { issuer: oldCa });
const trusting = (...cas: { cert: string }[]) =>
  configOf(issued, { clientAuth: { mode: "required", ca: cas.map(({ cert }) => cert).join("") } });

/** A relay that a test can spoil: it passes everything on, and appends what it is told to the client's bytes. */
async function relay(port: number) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connectTcp(port, "127.0.0.1");
    for (const socket of [near, far]) sockets.add(socket.on("error", () => {}));
    near.pipe(far).pipe(near);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: portOf(server),
    /** Sends bytes to the server that the client has not sent. */
    inject: (bytes: Uint8Array) => [...sockets].find((socket) => socket.remotePort === port)!.write(bytes),
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`TlsAcceptor.accept() closes the connection after a record that cannot be decrypted, over ${version}`, async () => {
    const accepted: TLSSocket[] = [];
    const listener = createServer((socket) => {
      new TlsState(plain).acceptor().accept(socket).then((secure) => accepted.push(secure), () => {});
    }).listen(0, "127.0.0.1");
    await once(listener, "listening");
    const spoiling = await relay(portOf(listener));
    const client = connect({ port: spoiling.port, host: "127.0.0.1", rejectUnauthorized: false, maxVersion: version });
    client.on("error", () => {});
    await once(client, "secureConnect");
    await until(() => accepted.length === 1);
    const errors: Error[] = [];
    accepted[0]!.on("error", (error) => errors.push(error)).resume();
    const ended = new Promise((resolve) => accepted[0]!.once("close", resolve));
    spoiling.inject(Uint8Array.of(23, 3, 3, 0, 32, ...new Uint8Array(32)));
    await ended;
    assertEquals(errors.length, 1);
    const connections = () =>
      new Promise<number>((resolve) => listener.getConnections((_error, count) => resolve(count)));
    while (await connections() > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    spoiling.close();
    client.destroy();
    listener.close();
  });
}

test("TlsAcceptor.accept() sends small packets at once by default, and not with noDelay: false", async () => {
  for (const [options, expected] of [[{}, [true]], [{ noDelay: false }, []]] as [AcceptOptions, boolean[]][]) {
    const calls: (boolean | undefined)[] = [];
    const accepting = Promise.withResolvers<TLSSocket>();
    const listener = createServer((socket) => {
      const { setNoDelay } = socket;
      socket.setNoDelay = (value?: boolean) => {
        calls.push(value);
        return setNoDelay.call(socket, value);
      };
      accepting.resolve(new TlsState(plain).acceptor().accept(socket, options));
    }).listen(0, "127.0.0.1");
    await once(listener, "listening");
    const client = connect({ port: portOf(listener), host: "127.0.0.1", rejectUnauthorized: false });
    (await accepting.promise).destroy();
    assertEquals(calls, expected);
    client.destroy();
    listener.close();
  }
});

test("TlsAcceptor.accept() stops a handshake that arrives byte by byte at its time limit", async () => {
  const server = await echoServer(new TlsState(plain), { handshakeTimeoutMs: 300 });
  const socket = await dialTcp(server.port);
  const ended = closed(socket);
  // The header of a record that announces more than ever comes.
  const bytes = Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, ...new Uint8Array(400));
  let at = 0;
  const timer = setInterval(() => socket.write(bytes.subarray(at, ++at)), 5);
  await ended;
  clearInterval(timer);
  assertEquals(server.refused.map(({ code }) => code), ["HANDSHAKE_TIMEOUT"]);
  assert(at < bytes.length, `the connection lived for ${at} bytes`);
  assertEquals(await server.connections(), 0);
  await server[Symbol.asyncDispose]();
});

test("a client whose handshake spans a swap must satisfy the configuration that is current at its end", async () => {
  for (
    const [before, after, reason] of [
      [trusting(oldCa), trusting(newCa), "no authority of the configuration"],
      [trusting(oldCa, newCa), trusting(newCa), "no authority of the configuration"],
      [plain, trusting(newCa), "sent no certificate"],
      [trusting(oldCa), trusting(oldCa, newCa), undefined],
      [trusting(oldCa), plain, undefined],
    ] as [TlsConfig, TlsConfig, string | undefined][]
  ) {
    const state = new TlsState(before);
    const [near, far] = duplexPair();
    const accepting = state.acceptor().accept(near);
    state.swap(after);
    const { cert, key } = oldClient;
    const client = connect({ socket: far, rejectUnauthorized: false, cert, key });
    client.on("error", () => {});
    if (reason) {
      const error = await assertRejects(() => accepting, TlsReloadError, reason);
      assertEquals(error.code, "CLIENT_UNAUTHORIZED");
    } else {
      (await accepting).destroy();
    }
    client.destroy();
    near.destroy();
  }
});

test("a client that the runtime refuses for a reason without a name gets an error that says so", async () => {
  const ca = await issueCa("constrained", { permitted: "example.com" });
  const { cert, key } = await issueClient("outside", { issuer: ca });
  for (const mode of ["required", "optional"] as const) {
    const state = new TlsState(configOf(issued, { clientAuth: { mode, ca: ca.cert } }));
    const [near, far] = duplexPair();
    const accepting = state.acceptor().accept(near);
    const client = connect({ socket: far, rejectUnauthorized: false, cert, key });
    client.on("error", () => {});
    const error = await assertRejects(() => accepting, TlsReloadError);
    assertEquals(error.code, "CLIENT_UNAUTHORIZED");
    assert(
      /openssl verify -purpose|name constraints|UNABLE_TO_VERIFY|PERMITTED_VIOLATION/i.test(error.message),
      error.message,
    );
    client.destroy();
    near.destroy();
  }
});

for (const version of ["-tls1_2", "-tls1_3"]) {
  test(`a session of one state is not resumed on another one, whose clients are others (openssl s_client ${version})`, async () => {
    // The certificates are trusted by both: only the handshake with the other state is missing.
    const [one, other] = [new TlsState(trusting(oldCa)), new TlsState(trusting(oldCa))];
    const [first, second] = [await echoServer(one), await echoServer(other)];
    const client = await OpensslClient.create(oldClient);
    const run = (port: number, resume: boolean) => client.run(port, { resume, args: [version] });
    assertEquals((await run(first.port, false)).greeted, true);
    assertEquals((await run(first.port, true)).greeted, true);
    const { greeted, reused } = await run(second.port, true);
    // Node and Bun cannot decrypt the ticket, so that the client makes a full handshake.
    assertEquals([greeted, reused && greeted], [!reused, false]);
    await client[Symbol.asyncDispose]();
    for (const server of [first, second]) await server[Symbol.asyncDispose]();
  });
}

test("TlsAcceptor.accept() throws a TypeError for unknown options and for values that are not a Duplex", async () => {
  const acceptor = new TlsState(plain).acceptor();
  const [near] = duplexPair();
  const options = { handshakeTimeout: 1 } as AcceptOptions;
  await assertRejects(() => acceptor.accept(near, options), TypeError, "use handshakeTimeoutMs");
  assert(near.destroyed);
  await assertRejects(() => acceptor.accept(undefined as never), TypeError, "must be a Duplex: undefined");
  await assertRejects(() => acceptor.accept({} as never), TypeError, "must be a Duplex: an object");
});

test("TlsState refuses values that are not a TlsConfig, and names a promise that must be awaited", () => {
  const state = new TlsState(plain);
  const { cert, key } = issued;
  assertThrows(() => new TlsState(Promise.resolve(plain) as never), TypeError, "a Promise, which must be awaited");
  assertThrows(() => state.swap({ cert, key } as never), TypeError, "must be a TlsConfig: an object");
  assertThrows(() => state.swap(cert as never), TypeError, "must be a TlsConfig: a string");
  assertThrows(() => state.subscribe(undefined as never), TypeError, "must be a function: undefined");
  assertEquals(state.generation, 0);
});

test("TlsState.swap() makes no server and no client verification", async () => {
  const state = new TlsState(trusting(oldCa));
  const authorities = trusting(oldCa, newCa);
  state.swap(authorities);
  const ms = await fastestOf(5, () => {
    for (let count = 0; count < 1_000; count++) state.swap(authorities);
  });
  // 50 µs each are the budget; a server takes ten times as long.
  assert(ms < 100, `${ms} µs each`);
});

test("a failed handshake is not kept", async () => {
  const collect = await garbageCollector();
  const acceptor = new TlsAcceptor(plain);
  let collected = 0;
  const registry = new FinalizationRegistry(() => collected++);
  const listener = createServer((socket) => {
    registry.register(socket, undefined);
    acceptor.accept(socket, { handshakeTimeoutMs: 600_000 }).catch(() => {});
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const COUNT = 200;
  for (let count = 0; count < COUNT; count++) {
    const socket = await dialTcp(portOf(listener));
    const ended = closed(socket);
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await ended;
  }
  listener.close();
  // All but a few: those that the stack or the last event still holds. A profiler makes each collection slow.
  for (const end = Date.now() + 10_000; Date.now() < end && collected < COUNT * 0.9;) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert(collected >= COUNT * 0.9, `${collected} of ${COUNT} are collected`);
});

async function garbageCollector(): Promise<() => void> {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun) return () => Bun.gc(true);
  const [{ setFlagsFromString }, { runInNewContext }] = [await import("node:v8"), await import("node:vm")];
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}
