import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import process from "node:process";
import { duplexPair } from "node:stream";
import test from "node:test";
import { connect } from "node:tls";
import { type DrainOptions, TlsState } from "../../mod.ts";
import { sharedBy } from "../../src/accept/tls_state.ts";
import { serve } from "../../src/bun.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf, dialTcp } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

const isBun = process.versions["bun"] !== undefined;
const ON_BUN = { skip: isBun ? false : "needs Bun" };
const ON = { handoff: isBun ? ON_LINUX : ON_BUN, front: ON_BUN };
const LOOPBACK = { hostname: "127.0.0.1", port: 0, idleTimeout: 255 };
const issued = await issueServer("drain");
const [kept, removed] = [await issueCa("kept"), await issueCa("removed")];
const { cert, key } = await issueClient("client", { issuer: kept });
const both = configOf(issued, { clientAuth: { ca: kept.cert + removed.cert, mode: "required" } });
const one = configOf(issued, { clientAuth: { ca: kept.cert, mode: "required" } });

for (const mechanism of ["handoff", "front"] as const) {
  const open = async (drain: DrainOptions, release = Promise.resolve()) => {
    const state = new TlsState(both, { drain });
    const shared = new Response(null, { status: 204 });
    const server = await serve(state, {
      ...LOOPBACK,
      mechanism,
      routes: { "/static": new Response("static") },
      async fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === "/socket") return void server.upgrade(request);
        if (pathname === "/slow") await release;
        return pathname === "/shared" ? shared : new Response("fresh");
      },
      websocket: { message: (socket, message) => void socket.send(message) },
    });
    assertEquals(server.mechanism, mechanism);
    return { state, server, dial: () => HttpConnection.open(server.port, { cert, key }) };
  };

  test(
    `serve() of ./bun ends the older generations gently when an authority is removed (${mechanism})`,
    ON[mechanism],
    async () => {
      const release = Promise.withResolvers<void>();
      const { state, server, dial } = await open({ spreadMs: 2_000 }, release.promise);
      const [idle, slow, asking, routed, socket] = await Promise.all([0, 1, 2, 3, 4].map(dial));
      for (const connection of [idle!, slow!, asking!, routed!]) await connection.ask("/");
      await socket!.upgrade("/socket");
      slow!.send("/slow");
      while (server.pendingRequests === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      state.swap(one);
      const goodbye = socket!.read(4);
      // Which clients may stay is not known, so idle connections close at once, and clients connect again.
      for (const connection of [idle!, asking!, routed!]) await closed(connection.socket);
      assertEquals([...await goodbye], [0x88, 2, 1001 >> 8, 1001 & 0xff]);
      release.resolve();
      assertEquals((await slow!.answer()).text, "fresh");
      await closed(slow!.socket);
      const tally = sharedBy(state).drainTally;
      await until(() => tally.status.ending === 0);
      assertEquals(tally.status, { ending: 0, gently: 5, forced: 0, untrusted: 0 });
      const fresh = await dial();
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      assertEquals((await fresh.ask("/shared")).headers.get("connection"), undefined);
      fresh.close();
      await server.stop(true);
    },
  );

  test(
    `serve() of ./bun ends by force what does not end gently, and nothing with "never" (${mechanism})`,
    ON[mechanism],
    async () => {
      for (const when of ["always", "never"] as const) {
        const release = Promise.withResolvers<void>();
        const { state, server, dial } = await open({ when, spreadMs: 100, graceMs: 400 }, release.promise);
        const slow = await dial();
        slow.send("/slow");
        await new Promise((resolve) => setTimeout(resolve, 100));
        const begin = performance.now();
        state.swap(when === "always" ? both : one);
        if (when === "always") {
          await once(slow.socket, "close");
          assert(performance.now() - begin >= 299);
          assertEquals(sharedBy(state).drainTally.status, { ending: 0, gently: 0, forced: 1, untrusted: 0 });
        } else {
          await new Promise((resolve) => setTimeout(resolve, 800));
          release.resolve();
          assertEquals((await slow.answer()).text, "fresh");
          slow.close();
        }
        release.resolve();
        await server.stop(true);
      }
    },
  );
}

for (const mechanism of ["handoff", "front"] as const) {
  test(
    `serve() of ./bun lets in no client of a removed authority whose handshake spans the swap (${mechanism})`,
    ON[mechanism],
    async () => {
      const old = await issueClient("old", { issuer: removed });
      for (const when of ["trust", "never"] as const) {
        const state = new TlsState(both, { drain: { when } });
        let requests = 0;
        const answer = () => {
          requests++;
          return new Response("let in");
        };
        const server = await serve(state, {
          ...LOOPBACK,
          mechanism,
          routes: { "/static": new Response("let in"), "/route": answer },
          fetch: answer,
        });
        const clients = ["/", "/static", "/route"].map(async (path) => {
          const socket = await dialTcp(server.port);
          const [near, far] = duplexPair();
          const client = connect({ socket: far, cert: old.cert, key: old.key, rejectUnauthorized: false });
          client.on("error", () => {});
          const [hello] = await once(near, "data");
          near.pause();
          // Bun accepts a connection with its first byte.
          socket.write(hello.subarray(0, 1));
          await new Promise((resolve) => setTimeout(resolve, 100));
          return { path, socket, near, client, rest: hello.subarray(1) };
        });
        const spanning = await Promise.all(clients);
        state.swap(one);
        for (const { path, socket, near, client, rest } of spanning) {
          let text = "";
          client.on("data", (chunk) => text += chunk);
          client.once("secureConnect", () => client.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`));
          socket.write(rest);
          near.on("data", (chunk) => socket.write(chunk)).resume();
          socket.on("data", (chunk) => near.write(chunk)).once("close", () => client.destroy());
          await closed(socket);
          assert(!text.includes("let in"), text);
        }
        assertEquals(requests, 0);
        await server.stop(true);
      }
    },
  );
}
