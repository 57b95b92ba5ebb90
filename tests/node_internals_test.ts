import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createTcpServer } from "node:net";
import process from "node:process";
import test from "node:test";
import { connect, createServer, type Server, type TlsOptions, type TLSSocket } from "node:tls";
import {
  callbacksOf,
  handshakeTimeoutOf,
  hasTicketKeys,
  keptOptions,
  otherOptions,
  settingsOf,
} from "../src/node_internals/kept_options.ts";
import { acceptsByListener, replaceAcceptingListener, replaceMethod } from "../src/node_internals/listeners.ts";
import { hideKey, responseOn, socketUnder } from "../src/node_internals/sockets.ts";
import { issueServer } from "./support/certificates.ts";
import { portOf } from "./support/peers.ts";

const { bun, deno } = process.versions as { bun?: string; deno?: string };
const isNode = bun === undefined && deno === undefined;
const { cert, key } = await issueServer("internals");
const pair = { cert, key };
const KINDS: Record<string, (options: TlsOptions) => Server> = {
  tls: (options) => createServer(options),
  https: (options) => createHttpsServer(options),
  http2: (options) => createSecureServer(options),
};
const kinds = Object.entries(KINDS).filter(([kind]) => !bun || kind !== "https");

test("_parent: socketUnder() leads from an encrypted socket to the socket under it", async () => {
  const server = createServer(pair);
  const listener = createTcpServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const client = connect({ host: "127.0.0.1", port: portOf(listener), rejectUnauthorized: false });
  const [socket] = await once(listener, "connection");
  server.emit("connection", socket);
  const [secure] = await once(server, "secureConnection") as [TLSSocket];
  assertStrictEquals(socketUnder(secure), socket, "_parent");
  client.destroy();
  secure.destroy();
  listener.close();
});

test("_handle.listen: a listening server of Deno has what keepAccepting() calls", {
  skip: deno ? false : "Node and Bun accept again by themselves",
}, async () => {
  const listener = createTcpServer().listen(0, "127.0.0.1") as Server & { _handle?: { listen?: unknown } };
  await once(listener, "listening");
  assertEquals(typeof listener._handle?.listen, "function", "_handle.listen");
  listener.close();
});

test("_httpMessage: responseOn() gives the response that a connection of node:http is at, and nothing when it is idle", async () => {
  const server = createServer(pair);
  const app = createHttpServer();
  // Deno closes connections of a server that does not listen.
  Object.defineProperty(app, "listening", { value: true });
  const listener = createTcpServer((socket) => server.emit("connection", socket)).listen(0, "127.0.0.1");
  server.on("secureConnection", (secure) => app.emit("connection", secure));
  await once(listener, "listening");
  const client = connect({ host: "127.0.0.1", port: portOf(listener), rejectUnauthorized: false });
  client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const [request, response] = await once(app, "request");
  assertStrictEquals(responseOn(request.socket), response, "_httpMessage");
  response.end("done");
  await once(response, "close");
  assertStrictEquals(responseOn(request.socket), undefined, "_httpMessage");
  const closed = once(request.socket, "close");
  client.destroy();
  request.socket.destroy();
  await closed;
  listener.close();
});

for (const [kind, create] of kinds) {
  test(`tlsConnectionListener: a ${kind} server of Node and Deno accepts by it, one of Bun does not`, () => {
    const server = create(pair);
    assertEquals(acceptsByListener(server), !bun, "tlsConnectionListener");
    if (bun) return;
    const before = server.rawListeners("connection");
    const [first, last] = [() => {}, () => {}];
    server.prependListener("connection", first);
    server.once("connection", last);
    const accept = () => {};
    const disposer = replaceAcceptingListener(server, accept);
    assertEquals(server.listeners("connection").indexOf(accept), 1);
    assertEquals(server.listeners("connection").length, before.length + 2);
    disposer[Symbol.dispose]();
    disposer[Symbol.dispose]();
    assertEquals(server.listeners("connection"), [first, ...before, last]);
  });

  test(`handshake-timeout, _handshakeTimeout: the time limit of a ${kind} server can be read`, () => {
    assertEquals(handshakeTimeoutOf(create({ ...pair, handshakeTimeout: 4_321 })), 4_321, "handshakeTimeout");
  });

  test(`requestCert, _requestCert, ALPNProtocols: the settings of a ${kind} server can be read`, () => {
    const asking = settingsOf(create({ ...pair, requestCert: true, rejectUnauthorized: false, ALPNProtocols: ["x"] }));
    assertEquals([asking.requestCert, asking.rejectUnauthorized], [true, false], "requestCert, rejectUnauthorized");
    if (kind !== "http2") assertEquals(asking.ALPNProtocols && [...asking.ALPNProtocols], [1, 120], "ALPNProtocols");
    assertEquals(settingsOf(create(pair)).requestCert, false, "requestCert");
  });

  test(`snicallback, _SNICallback: the callback of a ${kind} server can be read`, () => {
    const SNICallback = () => {};
    const { SNICallback: found } = callbacksOf(create({ ...pair, SNICallback }));
    // Bun keeps none, and its servers take none that way.
    if (!bun) assertStrictEquals(found, SNICallback, "snicallback, _SNICallback");
    assertEquals(callbacksOf(create(pair)).SNICallback, undefined);
  });
}

test(
  "options, ::bunnetserveroptions::, tls: servers of Bun keep what they were created with",
  { skip: !bun && "Bun's own" },
  () => {
    const ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
    for (const [kind, create] of Object.entries(KINDS)) {
      const server = create({ ...pair, maxHeaderSize: 9_000, ciphers, SNICallback() {} } as TlsOptions);
      const others = otherOptions(server) as { maxHeaderSize?: number; ciphers?: string };
      const where = `${kind}: options, ::bunnetserveroptions::`;
      assertEquals([others.maxHeaderSize, others.ciphers], [9_000, undefined], where);
      assertEquals([keptOptions(server).ciphers, typeof callbacksOf(server).SNICallback], [ciphers, "function"], where);
    }
  },
);

test("_contexts: contexts of addContext() are counted", () => {
  const server = createServer(pair);
  assertEquals(callbacksOf(server).addedContexts, 0);
  server.addContext("a.test", pair);
  if (!bun) assertEquals(callbacksOf(server).addedContexts, 1, "_contexts");
});

test(
  "ALPNCallback, pskcallback, secureProtocol: a server of Node keeps them",
  { skip: !isNode && "Node's own" },
  () => {
    const ALPNCallback = () => undefined;
    assertStrictEquals(callbacksOf(createServer({ ...pair, ALPNCallback })).ALPNCallback, ALPNCallback, "ALPNCallback");
    const pskCallback = () => null;
    assertStrictEquals(callbacksOf(createServer({ ...pair, pskCallback })).pskCallback, pskCallback, "pskcallback");
    const { secureProtocol } = callbacksOf(createServer({ ...pair, secureProtocol: "TLS_method" }));
    assertEquals(secureProtocol, "TLS_method", "secureProtocol");
  },
);

const KEPT: TlsOptions = {
  ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384",
  ecdhCurve: "P-256",
  maxVersion: "TLSv1.2",
  minVersion: "TLSv1.2",
  sigalgs: "ECDSA+SHA256",
};
const KEPT_BY_NODE: TlsOptions = {
  honorCipherOrder: false,
  secureOptions: 4,
  sessionIdContext: "context",
  sessionTimeout: 7,
  ticketKeys: Buffer.alloc(48, 1),
};

test("keptOptions() reads what a server was created with", () => {
  const kept = keptOptions(createServer({ ...pair, ...KEPT })) as Record<string, unknown>;
  for (const [name, value] of Object.entries(KEPT)) assertEquals(kept[name], value, name);
});

test("keptOptions() reads what only Node keeps", { skip: !isNode && "Node's own" }, () => {
  const server = createServer({ ...pair, ...KEPT_BY_NODE, enableTrace: false });
  const kept = keptOptions(server) as Record<string, unknown>;
  for (const [name, value] of Object.entries({ ...KEPT_BY_NODE, enableTrace: false })) {
    if (name !== "ticketKeys") assertEquals(kept[name], value, name);
  }
  assertEquals([hasTicketKeys(server), hasTicketKeys(createServer(pair))], [true, false], "ticketKeys");
});

test("_sharedCreds, _tlsOptions, key: hideKey() finds the places where a server keeps its key", () => {
  const server = hideKey(createServer(pair));
  const shown = Object.keys(server);
  for (const name of ["_sharedCreds", "key"]) assert(!shown.includes(name), name);
  const places = Reflect.ownKeys(server).map((name) => typeof name === "symbol" ? name.description : name);
  assert(places.includes("_sharedCreds"), "_sharedCreds");
});

test("replaceMethod() puts a method back, unless it was replaced again", () => {
  const server = createServer(pair);
  const { emit } = server;
  const disposer = replaceMethod(server, "emit", () => false);
  assertEquals(server.emit("any"), false);
  disposer[Symbol.dispose]();
  assertStrictEquals(server.emit, emit);
  const late = replaceMethod(server, "emit", () => false);
  const wrapper = () => true;
  server.emit = wrapper;
  late[Symbol.dispose]();
  assertStrictEquals(server.emit, wrapper);
});
