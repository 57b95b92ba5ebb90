import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { readdirSync, readlinkSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import process from "node:process";
import test from "node:test";
import { connect } from "node:tls";
import { TlsState } from "../../mod.ts";
import * as bun from "../../src/bun.ts";
import * as deno from "../../src/deno.ts";
import { issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { clientHello, closed, configOf } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

const { deno: denoVersion, bun: bunVersion } = process.versions;
const ON_DENO = denoVersion ? ON_LINUX : { skip: "needs Deno" };
const ON_BUN = bunVersion ? ON_LINUX : { skip: "needs Bun" };
const LOOPBACK = { hostname: "127.0.0.1", port: 0, mechanism: "front" } as const;
const CLIENTS = 20;

interface Subject {
  readonly port: number;
  stop(): Promise<unknown>;
}

const startDenoServe = async (state: TlsState): Promise<Subject> => {
  const server = await deno.serve(state, LOOPBACK, () => new Response("answer"));
  return { port: server.addr.port, stop: () => server.shutdown() };
};
const startDenoListen = async (state: TlsState): Promise<Subject> => {
  const listener = await deno.listenTls(state, LOOPBACK);
  const answer = new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer");
  const serve = async (conn: deno.DenoTlsConn) => {
    const buffer = new Uint8Array(4_096);
    while (await conn.read(buffer) !== null) await conn.write(answer);
  };
  const loop = (async () => {
    for await (const conn of listener) serve(conn).finally(() => conn.close()).catch(() => {});
  })();
  return {
    port: listener.addr.port,
    stop: () => {
      listener.close();
      return loop;
    },
  };
};
const startBunServe = async (state: TlsState): Promise<Subject> => {
  const server = await bun.serve(state, { ...LOOPBACK, idleTimeout: 255, fetch: () => new Response("answer") });
  return { port: server.port, stop: () => server.stop(true) };
};

const SUBJECTS = [
  ["serve() on Deno by front", startDenoServe, ON_DENO],
  ["listenTls() on Deno by front", startDenoListen, ON_DENO],
  ["serve() on Bun by front", startBunServe, ON_BUN],
] as const;

/** How many sockets this process holds. */
function sockets(): number {
  const isSocket = (descriptor: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`).startsWith("socket:");
    } catch {
      return false;
    }
  };
  return readdirSync("/proc/self/fd").filter(isSocket).length;
}

const record = (type: number, bytes: Uint8Array) =>
  Buffer.concat([Buffer.from([type, 3, 3, bytes.length >> 8, bytes.length & 0xff]), bytes]);
/** An encrypted record that cannot be decrypted, and one that is longer than RFC 8446 section 5.2 allows. */
const UNDECRYPTABLE = record(23, randomBytes(64));
const OVERSIZED = record(23, randomBytes(16_384 + 257));
const FIRST_RECORDS = {
  "empty handshake record": record(22, Buffer.alloc(0)),
  "empty application data record": record(23, Buffer.alloc(0)),
  "oversized record": Buffer.concat([Buffer.from([22, 3, 1, 0xff, 0xff]), randomBytes(70_000)]),
};

/** A client whose records can be written past its TLS. */
async function dialRaw(port: number): Promise<{ readonly raw: Socket; readonly secure: HttpConnection }> {
  const raw = connectTcp({ host: "127.0.0.1", port });
  raw.on("error", () => {});
  return { raw, secure: await HttpConnection.open(port, { socket: raw }) };
}

/** Attacks twice, and asserts that the second time leaves no socket behind and that the server still answers. */
async function leavesNoSocket(subject: Subject, attack: (port: number) => Promise<void>): Promise<void> {
  await attack(subject.port);
  const before = sockets();
  await attack(subject.port);
  const connection = await HttpConnection.open(subject.port);
  assertEquals((await connection.ask("/")).text, "answer");
  connection.close();
  await until(() => sockets() <= before);
  await subject.stop();
}

for (const [name, start, options] of SUBJECTS) {
  for (const [what, bytes] of Object.entries({ "cannot be decrypted": UNDECRYPTABLE, "is too long": OVERSIZED })) {
    for (const when of ["before", "after"]) {
      test(`${name} closes the connection of a client whose record ${what}, ${when} a request`, options, async () => {
        const subject = await start(new TlsState(configOf(await issueServer("record"))));
        await leavesNoSocket(subject, async (port) => {
          const before = sockets();
          const clients = await Promise.all(Array.from({ length: CLIENTS }, async () => {
            const { raw, secure } = await dialRaw(port);
            if (when === "after") assertEquals((await secure.ask("/")).text, "answer");
            raw.write(bytes);
            return { raw, secure };
          }));
          // The clients keep their own sockets: those that go are the server's.
          await until(() => sockets() <= before + CLIENTS);
          for (const { raw, secure } of clients) {
            secure.close();
            raw.destroy();
          }
        });
      });
    }
  }

  for (const [what, bytes] of Object.entries(FIRST_RECORDS)) {
    test(`${name} closes the connection of a client that begins with an ${what}`, options, async () => {
      const subject = await start(new TlsState(configOf(await issueServer("record"))));
      await leavesNoSocket(subject, async (port) => {
        await Promise.all(Array.from({ length: CLIENTS }, async () => {
          const raw = connectTcp({ host: "127.0.0.1", port, allowHalfOpen: true });
          raw.on("error", () => {});
          raw.write(bytes);
          raw.end(await clientHello());
          await closed(raw);
        }));
      });
    });
  }

  test(`${name} keeps no socket of clients that reset their connection`, options, async () => {
    const subject = await start(new TlsState(configOf(await issueServer("reset"))));
    await leavesNoSocket(subject, async (port) => {
      await Promise.all(Array.from({ length: CLIENTS }, async () => {
        const { raw, secure } = await dialRaw(port);
        secure.send("/");
        raw.resetAndDestroy();
      }));
    });
  });
}

test("serve() on Deno by front speaks no HTTP/2 to a client that agreed on HTTP/1.1", ON_DENO, async () => {
  const config = configOf(await issueServer("alpn"), { alpnProtocols: ["http/1.1"] });
  let requests = 0;
  const server = await deno.serve(new TlsState(config), LOOPBACK, () => {
    requests++;
    return new Response("answer");
  });
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  for (const split of [0, 1, 3, 4, preface.length]) {
    for (const ALPNProtocols of [["http/1.1"], undefined]) {
      const client = connect({
        host: "127.0.0.1",
        port: server.addr.port,
        rejectUnauthorized: false,
        ...(ALPNProtocols && { ALPNProtocols }),
      });
      const received: Uint8Array[] = [];
      client.on("data", (bytes) => received.push(bytes)).on("error", () => {});
      await new Promise<void>((resolve) => client.once("secureConnect", resolve));
      if (split > 0) await new Promise<void>((resolve) => client.write(preface.slice(0, split), () => resolve()));
      client.write(Buffer.concat([Buffer.from(preface.slice(split)), settings]));
      await closed(client);
      assertEquals(received, []);
    }
  }
  const connection = await HttpConnection.open(server.addr.port, { ALPNProtocols: ["http/1.1"] });
  connection.socket.write("P");
  connection.socket.write("UT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  assertEquals((await connection.answer()).text, "answer");
  assertEquals(requests, 1);
  connection.close();
  await server.shutdown();
});
