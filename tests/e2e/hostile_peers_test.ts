import { assert, assertEquals } from "@std/assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readlink } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { connect } from "node:tls";
import { TlsState } from "../../mod.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { clientHello, closed, configOf, dial, dialTcp, echoServer, visit } from "../support/peers.ts";

const issued = await issueServer("hostile");
const HANDSHAKE_TIMEOUT_MS = 300;

/** How many sockets this process holds, where /proc lists them, and how many timers, where the runtime does. */
async function resources(): Promise<{ sockets: number; timers: number }> {
  const folder = "/proc/self/fd";
  if (!existsSync(folder)) return { sockets: 0, timers: 0 };
  const links = await Promise.all((await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => "")));
  const active = process.getActiveResourcesInfo?.() ?? [];
  return {
    sockets: links.filter((link) => link.startsWith("socket:")).length,
    timers: active.filter((kind) => kind === "Timeout").length,
  };
}

const hello = await clientHello();
const truncated = Array.from(
  { length: 24 },
  (_, index) => hello.subarray(0, Math.ceil(hello.length * (index + 1) / 25)),
);
const garbage = [
  Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
  Buffer.from("SSH-2.0-OpenSSH_9.6\r\n"),
  Buffer.from([0x80, 0x2e, 0x01, 0x03, 0x01]), // a hello of SSL 2.0
  Buffer.concat([Buffer.from([0x16, 0x03, 0x01, 0xff, 0xff]), randomBytes(1_000)]), // a record of the greatest length
  Buffer.concat([Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02]), Buffer.from([0x02, 0x28])]), // an alert at once
  Buffer.concat([hello.subarray(0, 60), randomBytes(hello.length - 60)]),
  Buffer.concat([hello, randomBytes(2_000)]),
  ...Array.from({ length: 24 }, (_, index) => randomBytes(1 + index * 97)),
];

/** What peers do to a server that soon gives them up, or to one that is patient. */
const PEERS: Record<string, (port: number, patientPort: number) => Promise<void>> = {
  "plaintext, other protocols and random bytes": async (port) => {
    await Promise.all(garbage.map(async (bytes) => {
      const socket = await dialTcp(port);
      socket.write(bytes);
      await closed(socket);
    }));
  },
  "a reset in each state of the handshake": async (port) => {
    await Promise.all([Buffer.alloc(0), ...truncated, hello].map(async (bytes) => {
      const socket = await dialTcp(port);
      if (bytes.length > 0) await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
      socket.resetAndDestroy();
    }));
  },
  "an end in each state of the handshake": async (port) => {
    await Promise.all([Buffer.alloc(0), ...truncated, hello].map(async (bytes) => {
      const socket = await dialTcp(port);
      socket.end(bytes);
      await closed(socket);
    }));
  },
  "a stall in each state of the handshake": async (port) => {
    await Promise.all([Buffer.alloc(0), ...truncated, hello].map(async (bytes) => {
      const socket = await dialTcp(port);
      if (bytes.length > 0) socket.write(bytes);
      await closed(socket);
    }));
  },
  "a reset by clients that had entered, some with data under way": async (_port, patientPort) => {
    await Promise.all(Array.from({ length: 24 }, async (_, index) => {
      const socket = await dialTcp(patientPort);
      const client = connect({ socket, rejectUnauthorized: false });
      client.on("error", () => {});
      await once(client, "secureConnect");
      if (index % 2) client.write(randomBytes(200_000));
      // Only this one: Node dies of it if both are destroyed within the callback of the handshake.
      socket.resetAndDestroy();
    }));
  },
};

for (const clientAuth of [false, true]) {
  for (const [what, attack] of Object.entries(PEERS)) {
    test(`TlsAcceptor survives ${what}${clientAuth ? ", with client authentication" : ""}`, async () => {
      const ca = await issueCa("CA");
      const options = clientAuth ? { clientAuth: { mode: "optional", ca: ca.cert } } as const : {};
      const state = new TlsState(configOf(issued, options));
      // Two servers over one acceptor: who is to get in is given all the time that it takes.
      const hasty = await echoServer(state, { handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS });
      const server = await echoServer(state);
      const connections = async () => await hasty.connections() + await server.connections();
      // One round first: what the runtime opens once and keeps is no leak.
      await attack(hasty.port, server.port);
      await settled();
      const before = await resources();
      const lasting = await dial(server.port);
      await once(lasting, "data");
      await attack(hasty.port, server.port);

      assertEquals((await visit(server.port)).greeting, "generation 0");
      lasting.write("still here");
      assertEquals(String((await once(lasting, "data"))[0]), "still here");
      lasting.destroy();
      await settled(before);
      assertEquals(await connections(), 0);
      const after = await resources();
      assert(after.sockets <= before.sockets, `sockets: ${before.sockets} before, ${after.sockets} after`);
      assert(after.timers <= before.timers, `timers: ${before.timers} before, ${after.timers} after`);
      await hasty[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();

      /** Waits until the servers, and the system, have let go of everybody. */
      async function settled({ sockets, timers } = { sockets: Infinity, timers: Infinity }): Promise<void> {
        // Connections are accepted in their order: once this one is given up, all others have come.
        await closed(await dialTcp(hasty.port));
        for (let left = 6_000; left > 0; left--) {
          const held = await resources();
          if (await connections() === 0 && held.sockets <= sockets && held.timers <= timers) return;
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }
    });
  }
}
