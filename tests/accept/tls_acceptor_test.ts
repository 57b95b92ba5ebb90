import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, duplexPair } from "node:stream";
import test from "node:test";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { closed, configOf, dialTcp, echoServer, OpensslClient, visit } from "../support/peers.ts";
import { NO_UNIX_SOCKETS } from "../support/platform.ts";
import { assertListsNoSecret, assertPrintsNoSecret, secretKey } from "../support/secrets.ts";
import { tcpPair } from "../support/tcp.ts";

const issued = await issueServer("acceptor");
const other = await issueServer("other");
const config = configOf(issued, { alpnProtocols: ["h2", "http/1.1"] });

/** A connected pair of TCP sockets. The accepted one is paused. */
function pausedPair(): Promise<[accepted: Socket, client: Socket]> {
  return tcpPair({ pauseOnConnect: true });
}

async function secureClient(socket: Duplex, options = {}): Promise<TLSSocket> {
  const client = connect({ socket, rejectUnauthorized: false, ...options });
  client.on("error", () => {});
  await once(client, "secureConnect");
  return client;
}

for (const protocol of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`TlsAcceptor.accept() serves certificate and ALPN over ${protocol}, and carries bytes both ways`, async () => {
    const [accepted, raw] = await pausedPair();
    const accepting = new TlsState(config).acceptor().accept(accepted);
    const client = await secureClient(raw, { ALPNProtocols: ["http/1.1"], minVersion: protocol, maxVersion: protocol });
    const secure = await accepting;
    assertEquals(client.getPeerCertificate().fingerprint256, issued.fingerprint256);
    assertEquals([client.alpnProtocol, secure.alpnProtocol, secure.getProtocol()], ["http/1.1", "http/1.1", protocol]);
    secure.write("from the server");
    assertEquals(String((await once(client, "data"))[0]), "from the server");
    client.end("from the client");
    assertEquals(String((await once(secure, "data"))[0]), "from the client");
    secure.destroy();
    client.destroy();
  });
}

test("TlsAcceptor.accept() leaves `authorized` false if no certificate was requested", async () => {
  const [near, far] = duplexPair();
  const accepting = new TlsState(config).acceptor().accept(near);
  const client = await secureClient(far);
  assertEquals((await accepting).authorized, false);
  client.destroy();
  near.destroy();
});

test("TlsAcceptor.accept() returns a socket that hides the key of the server, also from console.dir()", async () => {
  // A key so short that lists which are cut off hold it all.
  const small = await issueServer("small", { algorithm: "Ed25519" });
  secretKey(small.key);
  const state = new TlsState(configOf(small));
  for (const pair of [() => tcpPair(), duplexPair]) {
    const [near, far] = await pair();
    const accepting = state.acceptor().accept(near);
    const client = await secureClient(far);
    const secure = await accepting;
    assertPrintsNoSecret(secure);
    assertListsNoSecret(secure);
    for (const socket of [client, secure, near, far]) socket.destroy();
  }
});

test("TlsAcceptor.accept() shows the application as much of the client's chain as a server of the runtime", async () => {
  const ca = await issueCa("client CA");
  const intermediate = await issueCa("intermediate", { issuer: ca });
  const { cert, key } = await issueClient("client", { issuer: intermediate });
  const config = configOf(issued, { clientAuth: { mode: "required", ca: ca.cert } });

  /** The subjects that the application is shown, for as long as it finds an issuer. */
  async function chainSeen(accept: (socket: Socket) => Promise<TLSSocket>): Promise<string[]> {
    const [near, far] = await pausedPair();
    const accepting = accept(near);
    const client = await secureClient(far, { cert, key });
    const secure = await accepting;
    const names: string[] = [];
    for (let at = secure.getPeerX509Certificate(); at; at = at.issuerCertificate) names.push(at.subject);
    client.destroy();
    secure.destroy();
    return names;
  }

  const own = createTlsServer(new TlsState(config).tls);
  const expected = await chainSeen(async (socket) => {
    own.emit("connection", socket);
    return (await once(own, "secureConnection"))[0];
  });
  assertEquals(await chainSeen((socket) => new TlsState(config).acceptor().accept(socket)), expected);
});

test("TlsAcceptor.accept() accepts unix sockets", { skip: NO_UNIX_SOCKETS }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const path = join(folder, "socket");
  const server = await echoServer(new TlsState(config), { path });
  const client = await secureClient(connectTcp(path));
  assertEquals(String((await once(client, "data"))[0]), "generation 0\n");
  client.destroy();
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

test("TlsAcceptor.accept() refuses a client of a unix socket after its handshake, and serves the next", {
  skip: NO_UNIX_SOCKETS,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const path = join(folder, "socket");
  const [ca, stranger] = [await issueCa("client CA"), await issueClient("stranger")];
  const state = new TlsState(configOf(issued, { clientAuth: { mode: "optional", ca: ca.cert } }));
  const server = await echoServer(state, { path });
  const { cert, key } = stranger;
  const refusal = server.nextRefusal();
  assertEquals((await visit(0, { path, cert, key })).greeting, undefined);
  assertEquals((await refusal).code, "CLIENT_UNAUTHORIZED");
  assertEquals((await visit(0, { path })).greeting, "generation 0");
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

test("TlsAcceptor.accept() accepts many connections of any Duplex at once without mixing them up", async () => {
  const state = new TlsState(config);
  const names = Array.from({ length: 12 }, (_, index) => `pair ${index}`);
  await Promise.all(names.map(async (name, index) => {
    const [near, far] = index % 2 ? await pausedPair() : duplexPair();
    const accepting = state.acceptor().accept(near);
    const client = await secureClient(far);
    client.write(name);
    const secure = await accepting;
    assertEquals(String((await once(secure, "data"))[0]), name);
    secure.destroy();
    client.destroy();
  }));
});

test("TlsAcceptor.accept() continues after STARTTLS with the bytes after the command", async () => {
  const [accepted, raw] = await pausedPair();
  // The client's hello arrives in one packet with the command.
  const [near, far] = duplexPair();
  const client = connect({ socket: far, rejectUnauthorized: false });
  raw.write(Buffer.concat([Buffer.from("STARTTLS\r\n"), (await once(near, "data"))[0]]));
  near.pipe(raw).pipe(near);
  near.resume();

  accepted.resume();
  const [chunk] = await once(accepted, "data") as [Buffer];
  accepted.pause();
  const end = chunk.indexOf("\r\n") + 2;
  assertEquals(String(chunk.subarray(0, end)), "STARTTLS\r\n");
  assert(chunk.length > end);
  accepted.unshift(chunk.subarray(end));
  const secure = await new TlsState(config).acceptor().accept(accepted);
  secure.write("220 go ahead\r\n");
  assertEquals(String((await once(client, "data"))[0]), "220 go ahead\r\n");
  secure.destroy();
  client.destroy();
});

test("TlsAcceptor.accept() finishes a handshake that began before a swap with the earlier configuration", async () => {
  const state = new TlsState(config);
  const [accepted, raw] = await pausedPair();
  const accepting = state.acceptor().accept(accepted);
  state.swap(configOf(other));
  const client = await secureClient(raw);
  assertEquals(client.getPeerCertificate().fingerprint256, issued.fingerprint256);
  (await accepting).destroy();
  client.destroy();
});

test("TlsAcceptor.accept() rejects with HANDSHAKE_TIMEOUT and closes a silent connection", async () => {
  const [accepted, raw] = await pausedPair();
  const rejected = assertRejects(
    () => new TlsState(config).acceptor().accept(accepted, { handshakeTimeoutMs: 20 }),
    TlsReloadError,
    "20 ms",
  );
  assertEquals((await rejected).code, "HANDSHAKE_TIMEOUT");
  assert(accepted.destroyed);
  await closed(raw);
});

test("TlsAcceptor.accept() rejects with a TypeError and closes the connection if the time limit is invalid", async () => {
  for (const handshakeTimeoutMs of [0, -1, NaN, 2 ** 31]) {
    const [accepted, raw] = await pausedPair();
    const accepting = new TlsState(config).acceptor().accept(accepted, { handshakeTimeoutMs });
    await assertRejects(() => accepting, TypeError, String(handshakeTimeoutMs));
    assert(accepted.destroyed);
    await closed(raw);
  }
});

test("TlsAcceptor.accept() waits without a limit if its time limit is Infinity", async () => {
  const [accepted, raw] = await pausedPair();
  const acceptor = new TlsState(config).acceptor();
  const accepting = acceptor.accept(accepted, { handshakeTimeoutMs: Infinity });
  // A timer that cannot be kept runs out before this one.
  const [other] = await pausedPair();
  await assertRejects(() => acceptor.accept(other, { handshakeTimeoutMs: 20 }), TlsReloadError, "20 ms");
  const client = await secureClient(raw);
  (await accepting).destroy();
  client.destroy();
});

test("TlsAcceptor.accept() rejects with HANDSHAKE_FAILED on plaintext, with the runtime's error as its cause", async () => {
  const [accepted, raw] = await pausedPair();
  raw.write("GET / HTTP/1.1\r\n\r\n");
  const error = await assertRejects(() => new TlsState(config).acceptor().accept(accepted), TlsReloadError);
  assertEquals(error.code, "HANDSHAKE_FAILED");
  assert(error.cause instanceof Error);
  assert(accepted.destroyed);
  await closed(raw);
});

test("TlsAcceptor.accept() rejects with HANDSHAKE_FAILED when the peer is gone, before or after the call", async () => {
  const [accepted, raw] = await pausedPair();
  const acceptor = new TlsState(config).acceptor();
  const accepting = assertRejects(() => acceptor.accept(accepted), TlsReloadError);
  raw.destroy();
  assertEquals((await accepting).code, "HANDSHAKE_FAILED");
  assertEquals((await assertRejects(() => acceptor.accept(accepted), TlsReloadError)).code, "HANDSHAKE_FAILED");

  // The server may still answer after the peer has ended its side.
  const [near, far] = duplexPair();
  far.end("STARTTLS");
  await once(near.resume(), "end");
  assert(!near.destroyed);
  assertEquals((await assertRejects(() => acceptor.accept(near), TlsReloadError)).code, "HANDSHAKE_FAILED");
  assert(near.destroyed);
});

test("TlsAcceptor.accept() rejects with the reason of its signal, before and during the handshake", async () => {
  const acceptor = new TlsState(config).acceptor();
  const reason = new Error("shutting down");
  const [early] = await pausedPair();
  assertStrictEquals(
    await assertRejects(() => acceptor.accept(early, { signal: AbortSignal.abort(reason) }), Error),
    reason,
  );
  assert(early.destroyed);

  const [late, raw] = await pausedPair();
  const controller = new AbortController();
  const accepting = assertRejects(() => acceptor.accept(late, { signal: controller.signal }), Error);
  controller.abort(reason);
  assertStrictEquals(await accepting, reason);
  await closed(raw);
});

test("TlsAcceptor.accept() sends an alert to a client with a version that is too old", async () => {
  const server = await echoServer(new TlsState(configOf(issued, { minVersion: "TLSv1.3" })));
  const openssl = await OpensslClient.create();
  const refusal = server.nextRefusal();
  const { greeted, output } = await openssl.run(server.port, { args: ["-tls1_2"] });
  assertEquals(greeted, false);
  assert(/alert (protocol version|handshake failure)/.test(output), output);
  assertEquals((await refusal).code, "HANDSHAKE_FAILED");
  assertEquals((await openssl.run(server.port)).greeted, true);
  assertEquals(server.refused.length, 1);
  await openssl[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test("TlsAcceptor.accept() returns a socket whose reset by the peer does not end the process", async () => {
  const state = new TlsState(config);
  const [accepted, raw] = await pausedPair();
  const accepting = state.acceptor().accept(accepted);
  await secureClient(raw);
  const secure = await accepting;
  raw.resetAndDestroy();
  await new Promise((resolve) => secure.resume().once("close", resolve));
});

test("TlsAcceptor.accept() keeps serving while 1,000 peers stall, and releases all of them", async () => {
  const state = new TlsState(config);
  // The same acceptor is behind both: only those who stall are given so little time.
  const [server, strict] = [await echoServer(state), await echoServer(state, { handshakeTimeoutMs: 1_500 })];
  const stalled = [];
  for (let count = 0; count < 1_000; count++) stalled.push(closed(await dialTcp(strict.port)));
  assertEquals((await visit(server.port)).greeting, "generation 0");
  await Promise.all(stalled);
  assertEquals(strict.refused.length, 1_000);
  assert(strict.refused.every(({ code }) => code === "HANDSHAKE_TIMEOUT"));
  assertEquals(await strict.connections(), 0);
  assertEquals((await visit(server.port)).greeting, "generation 0");
  await strict[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});
