import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import { connect as connectHttp2, createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import process from "node:process";
import test from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type ConnectionOptions, createServer as createTlsServer, type Server, type TLSSocket } from "node:tls";
import { TlsState } from "../../mod.ts";
import { allGenerations } from "../../src/accept/tls_state.ts";
import { attach } from "../../src/node.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { HttpConnection } from "../support/http.ts";
import { closed, configOf, dial, portOf } from "../support/peers.ts";
import { ON_LINUX } from "../support/ports.ts";
import { until } from "../support/tcp.ts";

const isBun = process.versions["bun"] !== undefined;
const server = await issueServer("drain");
const [kept, removed] = [await issueCa("kept"), await issueCa("removed")];
const clientOf = async (name: string, issuer: typeof kept) => {
  const { cert, key } = await issueClient(name, { issuer });
  return { cert, key };
};
const [stays, leaves] = [await clientOf("stays", kept), await clientOf("leaves", removed)];
const both = configOf(server, { clientAuth: { ca: kept.cert + removed.cert, mode: "required" } });
const one = configOf(server, { clientAuth: { ca: kept.cert, mode: "required" } });

/** A drain that takes longer than the tests, so that only refused clients are disconnected meanwhile. */
const SLOW_DRAIN = { drain: { spreadMs: 600_000 } };

const SERVERS = {
  tls: (state: TlsState): Server =>
    createTlsServer(state.tls, (socket) => {
      // Not by pipe(), which stops to read when the server has ended its side.
      socket.on("error", () => {}).on("data", (chunk) => socket.write(chunk));
    }),
  https: (state: TlsState): Server => createHttpsServer(state.tls, (_request, response) => response.end("pong")),
  http2: (state: TlsState): Server =>
    createSecureServer({ ...state.tls, allowHTTP1: true }, (_request, response) => response.end("pong")),
};
const KINDS = isBun ? ["tls", "http2"] as const : ["tls", "https", "http2"] as const;

async function start(kind: keyof typeof SERVERS, state: TlsState) {
  const server = SERVERS[kind](state);
  const attachment = attach(state, server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  await attachment.ready;
  const stop = async () => {
    attachment[Symbol.dispose]();
    (server as { closeAllConnections?: () => void }).closeAllConnections?.();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { server, attachment, port: portOf(server), stop };
}

/** Whether a connection still answers. */
async function answers(client: TLSSocket): Promise<boolean> {
  const data = once(client, "data");
  client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await data;
  return true;
}

for (const kind of KINDS) {
  test(`attach(): a ${kind} server disconnects the live client of a removed authority at once, no other`, async () => {
    const state = new TlsState(both, SLOW_DRAIN);
    const { attachment, port, stop } = await start(kind, state);
    const options: ConnectionOptions = { ALPNProtocols: ["http/1.1"] };
    const staying = await dial(port, { ...options, ...stays });
    const leaving = await dial(port, { ...options, ...leaves });
    for (const client of [staying, leaving]) assert(await answers(client));
    // The handoff counts connections from time to time.
    const counts = () =>
      attachment.generations.map(({ generation, connections }) => `${generation}: ${connections}`).join();
    await until(() => counts() === "0: 2");
    state.swap(one);
    await closed(leaving);
    assert(await answers(staying));
    await until(() => counts() === "0: 1,1: 0");
    assertEquals(allGenerations(state), attachment.generations);
    staying.destroy();
    await until(() => attachment.generations.length === 1);
    await stop();
  });

  test(`attach(): a ${kind} server drains the connections of a replaced generation with "always"`, async () => {
    const state = new TlsState(both, { drain: { when: "always", spreadMs: 50 } });
    const { attachment, port, stop } = await start(kind, state);
    const old = await dial(port, { ALPNProtocols: ["http/1.1"], ...stays });
    assert(await answers(old));
    state.swap(both);
    await closed(old);
    const fresh = await dial(port, { ALPNProtocols: ["http/1.1"], ...stays });
    assert(await answers(fresh));
    fresh.destroy();
    await until(() => attachment.generations.every(({ connections }) => connections === 0));
    await stop();
  });
}

test("attach(): an http2 server sends GOAWAY, and finishes the streams that are open", async () => {
  const state = new TlsState(both, { drain: { when: "always", spreadMs: 50 } });
  const release = Promise.withResolvers<void>();
  const server = createSecureServer(state.tls, async (_request, response) => {
    response.write("first ");
    await release.promise;
    response.end("last");
  });
  const attachment = attach(state, server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connectHttp2(`https://localhost:${portOf(server)}`, { rejectUnauthorized: false, ...stays });
  const request = client.request({ ":path": "/" });
  let body = "";
  request.on("data", (chunk) => body += chunk);
  await once(request, "data");
  const goaway = once(client, "goaway");
  const [end, close] = [once(request, "end"), once(client, "close")];
  state.swap(both);
  await goaway;
  release.resolve();
  await end;
  assertEquals(body, "first last");
  await close;
  attachment[Symbol.dispose]();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

test(
  "attach(): an https server finishes the response that it is at, and says that it is the last",
  { skip: isBun && "https servers of Bun cannot be attached" },
  async () => {
    const state = new TlsState(both, { drain: { when: "always", spreadMs: 50 } });
    const release = Promise.withResolvers<void>();
    const server = createHttpsServer(async (_request, response) => {
      await release.promise;
      response.end("done");
    });
    const attachment = attach(state, server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const connection = await HttpConnection.open(portOf(server), stays);
    connection.send("/");
    await once(server, "request");
    state.swap(both);
    setTimeout(() => release.resolve(), 200);
    const { headers, text } = await connection.answer();
    assertEquals([headers.get("connection"), text], ["close", "done"]);
    await closed(connection.socket);
    attachment[Symbol.dispose]();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  },
);

test(
  "attach(): an https server of Bun ends the older generations when an authority is removed",
  { skip: isBun ? ON_LINUX.skip : "needs Bun" },
  async () => {
    const state = new TlsState(both, { drain: { spreadMs: 2_000 } });
    const release = Promise.withResolvers<void>();
    const server = createHttpsServer(async (request, response) => {
      if (request.url === "/slow") await release.promise;
      response.end("pong");
    });
    const attachment = attach(state, server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const connections = await Promise.all([0, 1, 2, 3, 4, 5].map(() => HttpConnection.open(portOf(server), stays)));
    const [idle, stubborn, ...asking] = connections;
    for (const connection of connections) await connection.ask("/");
    stubborn!.send("/slow");
    const begin = performance.now();
    state.swap(one);
    // A connection whose moment comes last may be closed while it is idle, between two requests.
    const farewells = await Promise.all(asking.map(async (connection) => {
      for (;; await delay(20)) {
        const answer = await connection.ask("/").catch(() => undefined);
        if (!answer) return "closed while idle";
        if (answer.headers.get("connection") === "close") return "close";
      }
    }));
    assert(farewells.includes("close"), farewells.join());
    assert(!stubborn!.socket.destroyed, "before the end by force");
    await closed(idle!.socket);
    await once(stubborn!.socket, "close");
    assert(performance.now() - begin >= 1_990);
    const fresh = await HttpConnection.open(portOf(server), stays);
    assertEquals((await fresh.ask("/")).text, "pong");
    fresh.close();
    release.resolve();
    attachment[Symbol.dispose]();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  },
);
