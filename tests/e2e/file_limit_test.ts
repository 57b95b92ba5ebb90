import { assertEquals } from "@std/assert";
import { connect as connectTcp, type Socket } from "node:net";
import process from "node:process";
import test from "node:test";
import { connect } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { issueServer } from "../support/certificates.ts";
import { type ChildMechanism, startChildServer } from "../support/child_server.ts";
import { HttpConnection } from "../support/http.ts";
import { closed } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";

const FILE_LIMIT = 100;

/** Deno's own server stops listening when it has no descriptor, until it is replaced. */
function dialOrFail(port: number): Promise<Socket> {
  const socket = connectTcp({ host: "127.0.0.1", port });
  return new Promise((resolve) => {
    socket.on("error", () => {}).once("connect", () => resolve(socket)).once("close", () => resolve(socket));
  });
}

const isNative = process.versions["bun"] !== undefined || process.versions["deno"] !== undefined;
const ON_HANDOFF = isNative ? ON_LINUX : { skip: "needs Bun or Deno" };
const ON_POSIX = { skip: process.platform === "win32" ? "needs ulimit" : false };
const ON_ACCEPTOR = process.versions["bun"] ? { skip: "Bun accepts by itself" } : ON_POSIX;

for (const [mechanism, options] of Object.entries({ handoff: ON_HANDOFF, front: ON_POSIX, acceptor: ON_ACCEPTOR })) {
  test(
    `a server that ran out of file descriptors keeps its connections, and serves new ones when some are free (${mechanism})`,
    options,
    async () => {
      const [first, second] = [await issueServer("first"), await issueServer("second")];
      const runArgs = process.versions["deno"] ? ["run", "-A"] : [];
      const runtime = { path: process.execPath, runArgs };
      const server = await startChildServer(runtime, [first, second], {
        fileLimit: FILE_LIMIT,
        mechanism: mechanism as ChildMechanism,
      });
      const { port, errors } = server;

      const kept = await HttpConnection.open(port);
      assertEquals((await kept.ask("/")).text, "answer");
      await server.tell("fill");
      // Each is refused, reset or left in the queue; who was there before is served.
      const crowd: Socket[] = await Promise.all(Array.from({ length: FILE_LIMIT }, () => dialOrFail(port)));
      for (let client = 0; client < FILE_LIMIT; client++) {
        const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }).on("error", () => {});
        crowd.push(socket);
        socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
      }
      await server.tell("swap");
      assertEquals((await kept.ask("/")).text, "answer");
      assertEquals(kept.fingerprint256, first.fingerprint256);
      for (const socket of crowd) socket.destroy();
      await Promise.all(crowd.map(closed));
      await server.tell("release");
      for (;;) {
        const connection = await HttpConnection.open(port).catch(() => undefined);
        const answer = await connection?.ask("/").catch(() => undefined);
        connection?.close();
        if (answer?.text === "answer" && connection?.fingerprint256 === second.fingerprint256) break;
        // What is left of the crowd may take the first descriptors; a generation that did not start is tried again.
        await delay(50);
      }
      if (process.versions["bun"]) {
        assertEquals([...new Set(errors)], [mechanism === "front" ? "CONFIG_UNUSABLE" : "UNSUPPORTED"]);
      }
      assertEquals((await kept.ask("/")).text, "answer");
      kept.close();
      await server.close();
    },
  );
}
