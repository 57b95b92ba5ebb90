import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { once } from "node:events";
import http2 from "node:http2";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import process from "node:process";
import { connect as connectTls } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { handoffSupport } from "../../src/native/handoff_support.ts";
import { openHandoff } from "../../src/native/open_handoff.ts";
import { type Kernel, KernelError } from "../../src/kernel/kernel.ts";
import { issueCa, type Issued, issuePair } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { test } from "../support/closing_tests.ts";
import { NATIVE_RUNTIMES, type TestRuntime } from "../support/native_runtimes.ts";
import { configOf, descriptors, isListening, LOOPBACK, open, tools, until } from "../support/real_handoff.ts";

const optional = await issuePair("optional");
const trusting = ({ cert: ca }: Issued) => new TlsConfig({ ...optional, clientAuth: { mode: "optional", ca } });

if (NATIVE_RUNTIMES.length === 0) {
  test("openHandoff() throws UNSUPPORTED on Node, with the reason", async () => {
    assertEquals(
      (await handoffSupport()).reason,
      process.platform === "linux" ? "needs Bun or Deno" : `needs Linux, not ${process.platform}`,
    );
    const error = await assertRejects(
      () => openHandoff(new TlsState(configOf(0)), {} as TestRuntime, LOOPBACK),
      TlsReloadError,
    );
    assertEquals((error as TlsReloadError).code, "UNSUPPORTED");
  });
}

for (const make of NATIVE_RUNTIMES) {
  const { name } = make();

  test(`handoff of ${name}: a connection begun when swap() returned gets the new certificate, older ones stay`, async () => {
    const server = await open(make);
    const kept: HttpConnection[] = [await server.dial()];
    for (let generation = 1; generation <= 5; generation++) {
      const expected = server.swap();
      const fresh = await server.dial();
      assertEquals(fresh.fingerprint256, expected);
      assertEquals((await fresh.ask("/")).text, `generation ${generation}`);
      kept.push(fresh);
      // An empty queue after 10 ms tells that no connection with an older mark is to come.
      await delay(20);
    }
    for (const [generation, connection] of kept.entries()) {
      assertEquals((await connection.ask("/")).text, `generation ${generation}`);
    }
    await until(() => server.handoff.generations.every(({ connections }) => connections === 1), "all are counted");
    assertEquals(server.handoff.generations.map(({ generation }) => generation), [0, 1, 2, 3, 4, 5]);
    // The clients of 4 generations ago are alive; those of the others end, and so do their servers.
    for (const connection of kept.filter((_, generation) => generation !== 1)) connection.close();
    // Generation 2 may hold connections with the mark of generation 1.
    await until(() => server.handoff.generations.length === 3, "the others have ended");
    assertEquals((await kept[1]!.ask("/")).text, "generation 1");
    kept[1]!.close();
    await until(() => server.handoff.generations.length === 1, "all have ended");
    assertEquals(server.errors, []);
  });

  test(`handoff of ${name}: connections wait for a slow proof, and none gets the old certificate`, async () => {
    const server = await open(make, { beforeProof: ({ generation }) => generation > 0 ? delay(100) : undefined });
    const expected = server.swap();
    const begin = performance.now();
    const fresh = await Promise.all(Array.from({ length: 20 }, () => server.dial()));
    assert(performance.now() - begin > 90);
    for (const connection of fresh) {
      assertEquals(connection.fingerprint256, expected);
      connection.close();
    }
  });

  test(`handoff of ${name}: 800 clients wait longer than a second where an authority was removed`, async () => {
    const server = await open(make, {
      beforeProof: ({ generation }) => generation > 1 ? delay(1_200) : undefined,
    });
    server.state.swap(trusting(await issueCa("before")));
    (await server.dial()).close();
    const next = trusting(await issueCa("after"));
    server.state.swap(next);
    const fresh = await Promise.all(Array.from({ length: 800 }, () => server.dial()));
    assertEquals([...new Set(fresh.map(({ fingerprint256 }) => fingerprint256))], [next.leaf.fingerprint256]);
    for (const connection of fresh) connection.close();
    assertEquals(server.errors, []);
  });

  test(`handoff of ${name}: a client that connects before any system call of a swap is served`, async () => {
    const shared = await tools();
    const clients: Promise<HttpConnection>[] = [];
    let port = 0;
    // Each call of the kernel is preceded by a connection, whose handshake the system completes.
    const kernel = new Proxy(shared.kernel, {
      get(target, property: keyof Kernel) {
        const operation = target[property] as (...args: unknown[]) => unknown;
        return (...args: unknown[]) => {
          if (port > 0 && !/^(mark|port|isListening|cookie|tableSize)$/.test(property)) {
            clients.push(HttpConnection.open(port));
          }
          return operation.apply(target, args);
        };
      },
    });
    const server = await open(make, { tools: { ...shared, kernel } });
    port = server.port;
    const previous = server.state.current().leaf.fingerprint256;
    const expected = server.swap();
    await until(() => server.handoff.servers.at(-1)?.generation === 1, "the new server serves");
    port = 0;
    assert(clients.length >= 10, `${clients.length} clients`);
    for (const client of clients) {
      const connection = await client;
      assert([previous, expected].includes(connection.fingerprint256));
      assert((await connection.ask("/")).text.startsWith("generation"));
      connection.close();
    }
    assertEquals(server.errors, []);
  });

  test(`handoff of ${name}: whichever system call fails, the newest serves in the end and nothing is left`, async () => {
    const shared = await tools();
    const before = descriptors(shared.kernel);
    for (let failing = 1;; failing++) {
      let calls = -1e9;
      const kernel = new Proxy(shared.kernel, {
        get(target, property: keyof Kernel) {
          const operation = target[property] as (...args: unknown[]) => unknown;
          return (...args: unknown[]) => {
            if (/^(duplicate|replace|register|unregister|setMark|listen)$/.test(property) && ++calls === failing) {
              throw new KernelError(property, "it was told to fail");
            }
            return operation.apply(target, args);
          };
        },
      });
      const server = await open(make, { tools: { ...shared, kernel } });
      const kept = await server.dial();
      calls = 0;
      server.swap();
      for (let text = ""; text !== "generation 1";) {
        const fresh = await server.dial();
        text = (await fresh.ask("/")).text;
        fresh.close();
      }
      assertEquals((await kept.ask("/")).text, "generation 0");
      kept.close();
      await until(() => server.handoff.generations.length === 1, "the old generation has ended");
      await server[Symbol.asyncDispose]();
      if (calls < failing) break;
    }
    await until(() => descriptors(shared.kernel) <= before, "all sockets are closed");
  });

  test(`handoff of ${name}: half-sent requests and idle connections outlive their generation`, async () => {
    const server = await open(make);
    const [idle, half] = [await server.dial(), await server.dial()];
    half.socket.write("GET / HTTP/1.1\r\nHost: loc");
    for (let swap = 0; swap < 4; swap++) {
      server.swap();
      (await server.dial()).close();
    }
    await delay(300);
    half.socket.write("alhost\r\n\r\n");
    assertEquals((await half.answer()).text, "generation 0");
    assertEquals((await idle.ask("/")).text, "generation 0");
    idle.close();
    half.close();
  });

  test(`handoff of ${name}: outbound connections and other servers hold no generation`, async () => {
    const plain = createServer((socket) => void socket.on("error", () => {})).listen(0, "127.0.0.1");
    await once(plain, "listening");
    const { port } = plain.address() as { port: number };
    const server = await open(make);
    const outbound = connectTcp({ host: "127.0.0.1", port });
    await once(outbound, "connect");
    const other = await open(make);
    const elsewhere = await other.dial();
    (await server.dial()).close();
    server.swap();
    (await server.dial()).close();
    await until(() => server.handoff.generations.length === 1, "the old generation has ended");
    assertEquals((await elsewhere.ask("/")).text, "generation 0");
    elsewhere.close();
    outbound.destroy();
    plain.close();
  });

  test(`handoff of ${name}: graceMs ends the connections of a replaced generation`, async () => {
    const server = await open(make, { drain: { when: "always", graceMs: 200, spreadMs: 0 } });
    const old = await server.dial();
    server.swap();
    const fresh = await server.dial();
    if (!old.socket.closed) await once(old.socket, "close");
    await delay(300);
    assertEquals((await fresh.ask("/")).text, "generation 1");
    fresh.close();
  });

  test(`handoff of ${name}: close() frees the port and keeps connections, destroy() ends them`, async () => {
    const server = await open(make);
    const [old] = [await server.dial()];
    server.swap();
    const fresh = await server.dial();
    server.handoff.close();
    assertEquals(await isListening(server.port), false);
    assertEquals((await old.ask("/")).text, "generation 0");
    assertEquals((await fresh.ask("/")).text, "generation 1");
    const again = await open(make, { address: { ...LOOPBACK, port: server.port } });
    server.handoff.destroy();
    for (const { socket } of [old, fresh]) if (!socket.closed) await once(socket, "close");
    await server.handoff.finished;
    (await again.dial()).close();
    await again[Symbol.asyncDispose]();
  });

  test(`handoff of ${name}: close() while parked frees the port at once`, async () => {
    const proof = Promise.withResolvers<void>();
    const server = await open(make, { beforeProof: ({ generation }) => generation > 0 ? proof.promise : undefined });
    server.swap();
    server.handoff.close();
    assertEquals(await isListening(server.port), false);
    proof.resolve();
    await server.handoff.finished;
    assert(server.runtime.started.every(({ isStopped }) => isStopped));
  });

  test(`handoff of ${name}: a second start on the port fails with EADDRINUSE, before and after a swap`, async () => {
    const server = await open(make);
    for (let swap = 0; swap < 2; swap++) {
      const error = await assertRejects(() => open(make, { address: { ...LOOPBACK, port: server.port } }), Error);
      const { name, code } = error as NodeJS.ErrnoException;
      assert(code === "EADDRINUSE" || name === "AddrInUse", String(error));
      server.swap();
      (await server.dial()).close();
    }
  });

  test(`handoff of ${name}: ::, localhost and a port of its own`, async () => {
    for (const hostname of ["::", "localhost", "0.0.0.0"]) {
      const server = await open(make, { address: { hostname, port: 0 } });
      for (let swap = 0; swap < 3; swap++) {
        const fresh = await HttpConnection.open(server.port, { host: hostname === "::" ? "::1" : "localhost" });
        assertEquals((await fresh.ask("/")).text, `generation ${swap}`);
        fresh.close();
        server.swap();
      }
      assertEquals(server.handoff.address.port, server.port);
      assertEquals(server.errors, []);
    }
  });

  test(`handoff of ${name}: a TCP connection from before a swap makes its handshake with one of both`, async () => {
    const server = await open(make);
    const early: Socket[] = [];
    for (let client = 0; client < 10; client++) {
      const socket = connectTcp({ host: "127.0.0.1", port: server.port });
      await once(socket, "connect");
      early.push(socket);
    }
    server.swap();
    (await server.dial()).close();
    for (const socket of early) {
      const secure = connectTls({ socket, rejectUnauthorized: false });
      await once(secure, "secureConnect");
      const served = secure.getPeerCertificate().fingerprint256;
      assert([configOf(0), configOf(1)].some(({ leaf }) => leaf.fingerprint256 === served));
      secure.destroy();
    }
  });

  test(`handoff of ${name}: a configuration that cannot serve is reported, the old one goes on, the next one serves`, async () => {
    let isBroken = true;
    const server = await open(make, {
      beforeProof({ generation }) {
        if (generation > 0 && isBroken) throw new TlsReloadError("CONFIG_UNUSABLE", "no");
      },
    });
    server.swap();
    const old = await server.dial();
    assertEquals((await old.ask("/")).text, "generation 0");
    assertEquals(server.errors.map((error) => (error as TlsReloadError).code), ["CONFIG_UNUSABLE"]);
    isBroken = false;
    await until(() => server.handoff.servers.at(-1)?.generation === 1, "the retry");
    const fresh = await server.dial();
    assertEquals((await fresh.ask("/")).text, "generation 1");
    for (const connection of [old, fresh]) connection.close();
  });

  test(`handoff of ${name}: swap() throws what the native server cannot serve, and nothing changes`, async () => {
    const server = await open(make, {
      requireServable: (config) => {
        if (config === configOf(1)) throw new TlsReloadError("UNSUPPORTED", "no");
      },
    });
    assertThrows(() => server.swap(), TlsReloadError, "no");
    assertEquals([server.state.generation, server.runtime.started.length], [0, 2]);
    (await server.dial()).close();
  });

  test(`handoff of ${name}: 40 swaps, two servers at once, leave descriptors and marks as they were`, async () => {
    const { kernel, marks } = await tools();
    const before = [descriptors(kernel), marks.size];
    {
      const one = await open(make);
      const two = await open(make);
      for (let swap = 0; swap < 40; swap++) {
        const expected = [one.swap(), two.swap()];
        const fresh = await Promise.all([one.dial(), two.dial()]);
        assertEquals(fresh.map(({ fingerprint256 }) => fingerprint256), expected);
        for (const connection of fresh) connection.close();
      }
      await until(() => [one, two].every(({ handoff }) => handoff.generations.length === 1), "the old ones have ended");
      assertEquals([...one.errors, ...two.errors], []);
      for (const server of [one, two]) await server[Symbol.asyncDispose]();
    }
    await until(() => descriptors(kernel) <= before[0]!, "all sockets are closed");
    assertEquals(marks.size, before[1]);
  });
}

for (const make of NATIVE_RUNTIMES.filter((each) => each().name.endsWith(".serve"))) {
  const { name } = make();

  test(`handoff of ${name}: WebSockets outlive their generation`, async () => {
    const server = await open(make);
    const connections: HttpConnection[] = [];
    for (let swap = 0; swap < 4; swap++) {
      const connection = await server.dial();
      await connection.upgrade("/");
      connections.push(connection);
      server.swap();
      (await server.dial()).close();
    }
    await delay(300);
    for (const connection of connections) {
      connection.sendText("hello");
      assertEquals(await connection.receiveText(), "hello");
      connection.close();
    }
  });

  test(`handoff of ${name}: swaps from inside a handler`, async () => {
    const swaps: (() => void)[] = [];
    const server = await open(make, { onRequest: () => void swaps.pop()?.() });
    for (let swap = 1; swap <= 5; swap++) {
      const connection = await server.dial();
      swaps.push(() => server.swap());
      assertEquals((await connection.ask("/")).text, `generation ${swap - 1}`);
      connection.close();
      const fresh = await server.dial();
      assertEquals((await fresh.ask("/")).text, `generation ${swap}`);
      fresh.close();
    }
  });
}

for (const make of NATIVE_RUNTIMES.filter((each) => each().name === "Deno.serve")) {
  test("handoff of Deno.serve: HTTP/2 connections outlive their generation", async () => {
    const server = await open(make);
    const session = http2.connect(`https://127.0.0.1:${server.port}`, { rejectUnauthorized: false });
    const ask = async () => {
      let text = "";
      const stream = session.request({ ":path": "/" }).setEncoding("utf8").on("data", (part) => text += part);
      await once(stream.end(), "end");
      return text;
    };
    assertEquals(await ask(), "generation 0");
    for (let swap = 0; swap < 4; swap++) {
      server.swap();
      (await server.dial()).close();
    }
    await delay(300);
    assertEquals(await ask(), "generation 0");
    session.destroy();
  });
}
