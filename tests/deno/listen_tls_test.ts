import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import test from "node:test";
import { isDeepStrictEqual } from "node:util";
import { type TlsReloadError, TlsState } from "../../mod.ts";
import { allGenerations } from "../../src/accept/tls_state.ts";
import { type DenoTlsConn, listenTls } from "../../src/deno.ts";
import { DenoTlsRuntime } from "../../src/deno/native_listener.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { closed, configOf, dial, dialTcp, visit } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

/** Where to listen, and a time for handshakes that no pause of the machine uses up. */
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const MIB = 1 << 20;
const isDeno = process.versions["deno"] !== undefined;
/** What needs the native servers of Deno runs on Deno. */
const ON_DENO = { skip: isDeno ? false : "needs Deno" };
/** The handoff is for Linux. */
const ON = { handoff: isDeno ? ON_LINUX : ON_DENO, front: ON_DENO };

async function newState(): Promise<TlsState> {
  return new TlsState(configOf(await issueServer("deno")));
}

/** Runs a server for each connection until the listener is closed. */
function accepts(listener: AsyncIterable<DenoTlsConn>, handle: (conn: DenoTlsConn) => Promise<unknown>): Promise<void> {
  return (async () => {
    for await (const conn of listener) handle(conn).catch(() => closeQuietly(conn));
  })();
}

/** Deno's own connections throw if they are closed already. */
function closeQuietly(conn: DenoTlsConn): void {
  try {
    conn.close();
  } catch {
    // It was closed before.
  }
}

const echo = (conn: DenoTlsConn) => conn.readable.pipeTo(conn.writable);

for (const mechanism of ["handoff", "front"] as const) {
  test(
    `listenTls() serves the new certificate after a swap and keeps the connections (${mechanism})`,
    ON[mechanism],
    async () => {
      const [first, second] = [await issueServer("first"), await issueServer("second")];
      const state = new TlsState(configOf(first));
      const listener = await listenTls(state, { ...LOOPBACK, mechanism });
      const done = accepts(listener, echo);
      const before = await dial(listener.addr.port);
      state.swap(configOf(second));
      const after = await dial(listener.addr.port);
      assertEquals(before.getPeerCertificate().fingerprint256, first.fingerprint256);
      assertEquals(after.getPeerCertificate().fingerprint256, second.fingerprint256);
      before.write("still here");
      assertEquals(String((await once(before, "data"))[0]), "still here");
      const expected = [{ generation: 0, connections: 1 }, { generation: 1, connections: 1 }];
      await until(() => isDeepStrictEqual(listener.generations, expected));
      assertEquals(allGenerations(state), expected);
      before.destroy();
      after.destroy();
      listener.close();
      await done;
    },
  );

  test(`listenTls() yields connections with the surface of Deno.TlsConn (${mechanism})`, ON[mechanism], async () => {
    const state = new TlsState(configOf(await issueServer("surface"), { alpnProtocols: ["echo"] }));
    const listener = await listenTls(state, { ...LOOPBACK, mechanism });
    const [conn, client] = await Promise.all([
      listener.accept(),
      dial(listener.addr.port, { ALPNProtocols: ["echo"] }),
    ]);
    client.allowHalfOpen = true;
    assertEquals({ ...conn.remoteAddr }, { transport: "tcp", hostname: "127.0.0.1", port: client.localPort! });
    assertEquals({ ...conn.localAddr }, listener.addr);
    assertEquals({ ...await conn.handshake() }, { alpnProtocol: "echo" });
    conn.unref();
    conn.ref();
    client.write("abcde");
    const buffer = new Uint8Array(3);
    assertEquals(await conn.read(buffer), 3);
    assertEquals(String(Buffer.from(buffer)), "abc");
    const reader = conn.readable.getReader({ mode: "byob" });
    assertEquals((await reader.read(new Uint8Array(8))).value, new Uint8Array([100, 101]));
    reader.releaseLock();
    client.end();
    assertEquals(await conn.read(buffer), null);
    assertEquals(await conn.write(new Uint8Array(5)), 5);
    await conn.closeWrite();
    assertEquals(Buffer.concat(await client.toArray()).length, 5);
    conn.close();
    await assertRejects(() => conn.read(buffer), Deno.errors.BadResource);
    await assertRejects(() => conn.write(buffer), Deno.errors.BadResource);
    client.destroy();
    listener.close();
  });

  test(
    `listenTls() receives and sends every byte when one side reads slowly (${mechanism})`,
    ON[mechanism],
    async () => {
      const listener = await listenTls(await newState(), { ...LOOPBACK, mechanism });
      const done = accepts(listener, echo);
      const client = await dial(listener.addr.port);
      const sent = crypto.getRandomValues(new Uint8Array(65_536));
      let [received, isRight] = [0, true];
      client.on("data", (chunk: Buffer) => {
        for (const byte of chunk) isRight &&= byte === sent[received++ % sent.length];
      });
      for (let chunks = 0; chunks < 4 * MIB / sent.length; chunks++) {
        if (!client.write(sent)) await once(client, "drain");
      }
      while (received < 4 * MIB) await once(client, "data");
      assert(isRight);
      client.destroy();
      listener.close();
      await done;
    },
  );

  test(
    `listenTls() continues after bad clients and beside silent ones, and reports bad ones (${mechanism})`,
    ON[mechanism],
    async () => {
      const errors: unknown[] = [];
      const onClientError = (error: unknown) => errors.push((error as TlsReloadError).code);
      const listener = await listenTls(await newState(), { ...LOOPBACK, mechanism, onClientError });
      const done = accepts(listener, echo);
      const silent = await dialTcp(listener.addr.port);
      const garbage = await dialTcp(listener.addr.port);
      garbage.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
      const aborted = await dialTcp(listener.addr.port);
      aborted.resetAndDestroy();
      await closed(garbage);
      const client = await dial(listener.addr.port);
      client.write("on");
      assertEquals(String((await once(client, "data"))[0]), "on");
      await until(() => errors.length > 1);
      assertEquals(errors, ["HANDSHAKE_FAILED", "HANDSHAKE_FAILED"]);
      silent.destroy();
      client.destroy();
      listener.close();
      await done;
    },
  );

  test(
    `accept() of listenTls() returns connections that came before the call (${mechanism})`,
    ON[mechanism],
    async () => {
      const listener = await listenTls(await newState(), { ...LOOPBACK, mechanism, tcpBacklog: 1 });
      const clients = [];
      for (let count = 0; count < 8; count++) clients.push(await dial(listener.addr.port));
      const done = accepts(listener, echo);
      for (const client of clients) {
        client.write("on");
        assertEquals(String((await once(client, "data"))[0]), "on");
        client.destroy();
      }
      listener.close();
      await done;
    },
  );

  test(`listenTls() serves on when onClientError throws or rejects (${mechanism})`, ON[mechanism], async () => {
    const wrong = [
      () => {
        throw new Error("onClientError throws");
      },
      () => Promise.reject(new Error("onClientError rejects")),
    ];
    for (const onClientError of wrong) {
      const listener = await listenTls(await newState(), { ...LOOPBACK, mechanism, onClientError });
      const done = accepts(listener, echo);
      const warned = once(process, "warning");
      const garbage = await dialTcp(listener.addr.port);
      garbage.end("garbage");
      assertMatch((await warned)[0].message, /^onClientError (?:throws|rejects)$/);
      await closed(garbage);
      (await dial(listener.addr.port)).destroy();
      listener.close();
      await done;
    }
  });

  test(`close() of listenTls() ends the loop and a waiting accept() (${mechanism})`, ON[mechanism], async () => {
    const listener = await listenTls(await newState(), { ...LOOPBACK, mechanism });
    const loop = accepts(listener, echo);
    const waiting = assertRejects(() => listener.accept(), Deno.errors.BadResource);
    listener.close();
    await Promise.all([loop, waiting]);
    await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  });
}

test("listenTls() closes the connection of a silent client after handshakeTimeoutMs", ON_DENO, async () => {
  const reported = Promise.withResolvers<unknown>();
  const options = { ...LOOPBACK, handshakeTimeoutMs: 1, onClientError: reported.resolve };
  const listener = await listenTls(await newState(), options);
  const done = accepts(listener, echo);
  await closed(await dialTcp(listener.addr.port));
  assertEquals((await reported.promise as TlsReloadError).code, "HANDSHAKE_TIMEOUT");
  listener.close();
  await done;
});

test("close() of a connection closes it although its client does not read", ON_DENO, async () => {
  const listener = await listenTls(await newState(), { ...LOOPBACK, mechanism: "front" });
  const client = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${listener.addr.port}`], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  const conn = await listener.accept();
  process.kill(client.pid!, "SIGSTOP");
  const written = conn.write(new Uint8Array(64 * MIB));
  conn.close();
  await assertRejects(() => written, Error);
  process.kill(client.pid!, "SIGKILL");
  await once(client, "close");
  listener.close();
});

test("listenTls() asks for client certificates", ON_DENO, async () => {
  const ca = await issueCa("clients");
  const config = configOf(await issueServer("mutual"), { clientAuth: { ca: ca.cert, mode: "required" } });
  const listener = await listenTls(new TlsState(config), LOOPBACK);
  const done = accepts(listener, echo);
  const trusted = await issueClient("trusted", { issuer: ca });
  const foreign = await issueClient("foreign", { issuer: await issueCa("foreign") });
  const { port } = listener.addr;
  assertEquals((await visit(port, { cert: trusted.cert, key: trusted.key })).greeting, "GET / HTTP/1.0\r");
  assertEquals((await visit(port, { cert: foreign.cert, key: foreign.key })).greeting, undefined);
  assertEquals((await visit(port)).greeting, undefined);
  listener.close();
  await done;
});

test(
  "DenoTlsGeneration closes a connection once whose handshake takes too long when it is stopped",
  ON_DENO,
  async () => {
    const refused = Promise.withResolvers<unknown>();
    const settings = { handshakeTimeoutMs: 200, drains: true, onClientError: refused.resolve };
    const generation = new DenoTlsRuntime(settings, () => {}).start((await newState()).acceptor(), LOOPBACK);
    const client = await dialTcp(generation.port);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const uncaught: unknown[] = [];
    const onUncaught = (error: unknown) => void uncaught.push(error);
    process.on("uncaughtException", onUncaught);
    generation.stop();
    // The timer is due before the runtime tells that the connection is closed.
    for (const end = performance.now() + 200; performance.now() < end;);
    assertEquals((await refused.promise as TlsReloadError).code, "HANDSHAKE_TIMEOUT");
    assertEquals(uncaught, []);
    process.off("uncaughtException", onUncaught);
    client.destroy();
  },
);
