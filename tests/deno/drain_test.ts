import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import process from "node:process";
import test from "node:test";
import { type DrainOptions, type TlsConfig, TlsState } from "../../mod.ts";
import { sharedBy } from "../../src/accept/tls_state.ts";
import { listenTls, serve } from "../../src/deno.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf, dial } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

const isDeno = process.versions["deno"] !== undefined;
const ON_DENO = { skip: isDeno ? false : "needs Deno" };
const ON = { handoff: isDeno ? ON_LINUX : ON_DENO, front: ON_DENO };
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const issued = await issueServer("drain");
const config = configOf(issued);
const [kept, removed] = [await issueCa("kept"), await issueCa("removed")];
const clientOf = async (issuer: typeof kept) => {
  const { cert, key } = await issueClient("client", { issuer });
  return { cert, key };
};
const [stays, leaves] = [await clientOf(kept), await clientOf(removed)];
const both = configOf(issued, { clientAuth: { ca: kept.cert + removed.cert, mode: "required" } });
const one = configOf(issued, { clientAuth: { ca: kept.cert, mode: "required" } });
const ALWAYS: DrainOptions = { when: "always", spreadMs: 100, graceMs: 500 };

test('serve() of ./deno says that a response is the last, with "always" (handoff)', ON.handoff, async () => {
  const state = new TlsState(config, { drain: { when: "always", spreadMs: 100 } });
  const shared = "pong";
  const server = await serve(state, { ...LOOPBACK, mechanism: "handoff" }, () => new Response(shared));
  const old = await HttpConnection.open(server.addr.port);
  assertEquals((await old.ask("/")).headers.get("connection"), undefined);
  state.swap(config);
  while ((await old.ask("/")).headers.get("connection") !== "close") await new Promise((end) => setTimeout(end, 10));
  old.close();
  const fresh = await HttpConnection.open(server.addr.port);
  assertEquals((await fresh.ask("/")).headers.get("connection"), undefined);
  fresh.close();
  await server.shutdown();
});

for (const mechanism of ["handoff", "front"] as const) {
  test(`a connection of a replaced generation becomes a WebSocket (${mechanism})`, ON[mechanism], async () => {
    const state = new TlsState(config, { drain: { when: "always", spreadMs: 60_000 } });
    const errors: unknown[] = [];
    const onError = (error: unknown) => {
      errors.push(error);
      return new Response(null, { status: 500 });
    };
    const server = await serve(state, { ...LOOPBACK, mechanism, onError }, (request) => {
      if (request.headers.get("upgrade") !== "websocket") return new Response("pong");
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onmessage = ({ data }) => socket.send(data);
      return response;
    });
    const old = await HttpConnection.open(server.addr.port);
    await old.ask("/");
    state.swap(config);
    await until(() => sharedBy(state).drainTally.status.ending === 1);
    await old.upgrade("/");
    old.sendText("ping");
    assertEquals(await old.receiveText(), "ping");
    assertEquals(errors, []);
    old.close();
    await server.shutdown();
  });
}

for (const mechanism of ["handoff", "front"] as const) {
  test(`serve() of ./deno ends connections by force after graceMs (${mechanism})`, ON[mechanism], async () => {
    const state = new TlsState(config, { drain: ALWAYS });
    const server = await serve(state, { ...LOOPBACK, mechanism }, () => new Response("pong"));
    const old = await HttpConnection.open(server.addr.port);
    await old.ask("/");
    const begin = performance.now();
    state.swap(config);
    const fresh = await HttpConnection.open(server.addr.port);
    await once(old.socket, "close");
    assert(performance.now() - begin >= 399);
    assertEquals(sharedBy(state).drainTally.status, { ending: 0, gently: 0, forced: 1, untrusted: 0 });
    assertEquals((await fresh.ask("/")).text, "pong");
    fresh.close();
    await server.shutdown();
  });

  test(
    `listenTls() ends its side of the connections of a replaced generation (${mechanism})`,
    ON[mechanism],
    async () => {
      const state = new TlsState(config, { drain: { when: "always", spreadMs: 100 } });
      const listener = await listenTls(state, { ...LOOPBACK, mechanism });
      const conns: unknown[] = [];
      const loop = (async () => {
        for await (const conn of listener) {
          conns.push(conn);
          conn.readable.pipeTo(conn.writable).catch(() => {});
        }
      })();
      const old = await dial(listener.addr.port);
      await until(() => conns.length === 1);
      state.swap(config);
      await closed(old);
      await until(() => sharedBy(state).drainTally.status.ending === 0);
      assertEquals(sharedBy(state).drainTally.status, { ending: 0, gently: 1, forced: 0, untrusted: 0 });
      listener.close();
      await loop;
    },
  );
}

const crl = (revoked: readonly { cert: string }[]) =>
  configOf(issued, {
    clientAuth: { ca: kept.cert + removed.cert, mode: "required", crl: [makeCrl(kept), makeCrl(removed, { revoked })] },
  });
/** A drain that takes longer than the tests, so that only refused clients are disconnected meanwhile. */
const SLOW_DRAIN = { drain: { spreadMs: 600_000 } };
/** Configurations before and after swaps that refuse a client. */
const REFUSALS: Record<string, () => readonly [TlsConfig, TlsConfig]> = {
  "the client of a removed authority": () => [both, one],
  "a client that a list revokes": () => [crl([]), crl([leaves])],
};

for (const [what, configs] of Object.entries(REFUSALS)) {
  test(`serve() and listenTls() of ./deno disconnect ${what} at once, and no other`, ON_DENO, async () => {
    const [before, after] = configs();
    const state = new TlsState(before, SLOW_DRAIN);
    const server = await serve(state, LOOPBACK, () => new Response("pong"));
    const listener = await listenTls(state, LOOPBACK);
    const loop = (async () => {
      for await (const conn of listener) conn.readable.pipeTo(conn.writable).catch(() => {});
    })();
    const [staying, leaving] = [
      await HttpConnection.open(server.addr.port, stays),
      await HttpConnection.open(server.addr.port, leaves),
    ];
    for (const connection of [staying, leaving]) assertEquals((await connection.ask("/")).text, "pong");
    // One that has sent no request yet has no inner connection.
    const silent = await HttpConnection.open(server.addr.port, leaves);
    const [echoed, echoedLeaving] = [await dial(listener.addr.port, stays), await dial(listener.addr.port, leaves)];
    await until(() => state.authorities().reduce((sum, { liveConnections }) => sum + liveConnections, 0) === 5);
    state.swap(after);
    await Promise.all([leaving.socket, silent.socket, echoedLeaving].map(closed));
    assertEquals((await staying.ask("/")).text, "pong");
    const data = once(echoed, "data");
    echoed.write("still here");
    await data;
    staying.close();
    echoed.destroy();
    listener.close();
    await loop;
    await server.shutdown();
  });
}
