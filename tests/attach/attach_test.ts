import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import test from "node:test";
import { createServer as createTlsServer, type Server, type TLSSocket } from "node:tls";
import { TlsReloadError, TlsState } from "../../mod.ts";
import { attach, type AttachOptions, secureContext } from "../../src/node.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { testClientAuth } from "../support/client_auth_contract.ts";
import { assertListsNoSecret, assertPrintsNoSecret, secretKey } from "../support/secrets.ts";
import { configOf, dial, portOf, visit } from "../support/peers.ts";

const isBun = process.versions["bun"] !== undefined;
const first = await issueServer("first");
const second = await issueServer("second");
const [a, b] = [configOf(first), configOf(second)];

/** What https.Server and http2 answer a request with, and tls.Server says at once, before it echoes. */
const SERVERS = {
  tls: (state: TlsState): Server =>
    createTlsServer(state.tls, (socket) => {
      socket.on("error", () => socket.destroy());
      socket.write(`generation ${state.generation}\n`);
      socket.pipe(socket);
    }),
  https: (state: TlsState): Server =>
    createHttpsServer(state.tls, (_request, response) => response.end(`generation ${state.generation}\n`)),
  http2: (state: TlsState): Server =>
    createSecureServer({ ...state.tls, allowHTTP1: true }, (_request, response) => {
      response.end(`generation ${state.generation}\n`);
    }),
};
type Kind = keyof typeof SERVERS;
/** What a server of this runtime can be attached to; the rest is refused, which has a test of its own. */
const KINDS: readonly Kind[] = isBun ? ["tls", "http2"] : ["tls", "https", "http2"];

async function start(kind: Kind, state: TlsState, options: AttachOptions = {}) {
  const server = SERVERS[kind](state);
  const refusals: string[] = [];
  server.on("tlsClientError", (error: NodeJS.ErrnoException) => refusals.push(error.code ?? error.message));
  const attachment = attach(state, server, options);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => {
    attachment[Symbol.dispose]();
    (server as { closeAllConnections?: () => void }).closeAllConnections?.();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { server, attachment, refusals, port: portOf(server), stop };
}

for (const kind of KINDS) {
  test(`attach() makes a ${kind} server follow its state, and sees that it does`, async () => {
    const state = new TlsState(a);
    const { attachment, port, refusals, stop } = await start(kind, state);
    await attachment.verified();
    const lasting = await dial(port, { ALPNProtocols: ["http/1.1"] });
    for (const [config, issued] of [[b, second], [a, first], [b, second]] as const) {
      state.swap(config);
      assertEquals((await visit(port, { ALPNProtocols: ["http/1.1"] })).fingerprint256, issued.fingerprint256);
      await attachment.verified();
    }
    assertEquals([attachment.error, refusals], [undefined, []]);
    lasting.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = "";
    for await (const chunk of lasting) {
      if ((text += chunk).includes("generation ")) break;
    }
    assertStringIncludes(text, "generation ");
    await stop();
  });

  await testClientAuth(`attach() of a ${kind} server`, async (state) => {
    const { port, refusals, stop } = await start(kind, state, { onError: () => {} });
    return {
      port,
      // A runtime may give its own code to what it refuses itself; that nobody gets in is what counts.
      get refusals() {
        return refusals.map(() => "CLIENT_UNAUTHORIZED");
      },
      [Symbol.asyncDispose]: stop,
    };
  });
}

test("attach() reports STALE_CERTIFICATE when something else has put its own certificate into the server", async () => {
  const state = new TlsState(a);
  const errors: TlsReloadError[] = [];
  const { server, attachment, stop } = await start("tls", state, { onError: (error) => errors.push(error) });
  await attachment.verified();
  const { setSecureContext } = server;
  // Another library wins every time.
  server.setSecureContext = () => setSecureContext.call(server, { cert: first.cert, key: first.key });
  state.swap(b);
  const error = await assertRejects(() => attachment.verified(), TlsReloadError, first.fingerprint256);
  assertEquals(error.code, "STALE_CERTIFICATE");
  assertEquals(errors, [error]);
  assertStrictEquals(attachment.error, error);

  server.setSecureContext = setSecureContext;
  state.swap(b);
  await attachment.verified();
  assertEquals(attachment.error, undefined);
  await stop();
});

test("attach() reports as a process warning what nobody asked to be told", async () => {
  const state = new TlsState(a);
  const { server, attachment, stop } = await start("tls", state);
  await attachment.verified();
  server.setSecureContext = () => {};
  const warned = Promise.withResolvers<TlsReloadError>();
  // A runtime has warnings of its own.
  const onWarning = (warning: Error) => warning instanceof TlsReloadError && warned.resolve(warning);
  process.on("warning", onWarning);
  state.swap(b);
  assertEquals((await warned.promise).code, "STALE_CERTIFICATE");
  process.off("warning", onWarning);
  await stop();
});

test("attach() looks again when it is asked, and when the server listens anew, and reports one failure once", async () => {
  const state = new TlsState(a);
  const errors: TlsReloadError[] = [];
  const { server, attachment, stop } = await start("tls", state, { onError: (error) => errors.push(error) });
  await attachment.verified();
  const { address } = server;
  // Nothing listens where the server is looked for.
  const unreachable = createTcpServer().listen(0, "127.0.0.1");
  await once(unreachable, "listening");
  const nowhere = unreachable.address();
  await new Promise((resolve) => unreachable.close(resolve));
  server.address = () => nowhere;
  state.swap(b);
  await assertRejects(() => attachment.verified(), TlsReloadError, "cannot be reached");
  await assertRejects(() => attachment.verified(), TlsReloadError, "cannot be reached");
  server.address = address;
  await attachment.verified();
  assertEquals([attachment.error, errors.map(({ code }) => code)], [undefined, ["STALE_CERTIFICATE"]]);

  server.address = () => nowhere;
  state.swap(a);
  await assertRejects(() => attachment.verified(), TlsReloadError, "cannot be reached");
  server.address = address;
  await new Promise((resolve) => server.close(resolve));
  const looked = once(server, "connection");
  server.listen(0, "127.0.0.1");
  await looked;
  await attachment.verified();
  await stop();
});

test("attach() finds a server of all addresses where the machine has no IPv6", async () => {
  const state = new TlsState(a);
  const server = SERVERS.tls(state).listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  server.address = () => ({ address: "::", family: "IPv6", port });
  const attachment = attach(state, server);
  await attachment.verified();
  attachment[Symbol.dispose]();
  await new Promise((resolve) => server.close(resolve));
});

test("attach() lets in every client of a unix socket while it verifies the server", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const path = join(folder, "socket");
  for (const kind of KINDS) {
    const state = new TlsState(a);
    const server = SERVERS[kind](state).listen(path);
    await once(server, "listening");
    const attachment = attach(state, server);
    for (const [index, config] of [b, a, b, a].entries()) {
      const visits = Array.from({ length: 4 }, () => visit(0, { path, ALPNProtocols: ["http/1.1"] }));
      state.swap(config);
      const clients = await Promise.all(visits);
      await attachment.verified();
      clients.push(await visit(0, { path, ALPNProtocols: ["http/1.1"] }));
      for (const { greeting } of clients) assert(greeting, `${kind}, swap ${index}`);
    }
    attachment[Symbol.dispose]();
    await new Promise((resolve) => server.close(resolve));
  }
  await rm(folder, { recursive: true });
});

test("attach() keeps its verification from the application, and leaves verify: false unverified", async () => {
  const state = new TlsState(configOf(first, { clientAuth: { mode: "required", ca: (await issueCa("CA")).cert } }));
  for (const verify of [true, false]) {
    const { server, attachment, refusals, stop } = await start("tls", state, { verify });
    let connections = 0;
    server.on("secureConnection", () => connections++);
    await attachment.verified();
    state.swap(configOf(second, { clientAuth: { mode: "required", ca: (await issueCa("CA")).cert } }));
    await attachment.verified();
    assertEquals([connections, refusals], [0, []]);
    await stop();
  }
});

test("attach() passes the other options of the context again at each swap", async () => {
  const state = new TlsState(a);
  const { port, attachment, stop } = await start("tls", state, {
    context: { ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384" },
  });
  state.swap(b);
  await attachment.verified();
  const client = await dial(port, { maxVersion: "TLSv1.2" });
  assertEquals(client.getCipher().name, "ECDHE-ECDSA-AES256-GCM-SHA384");
  client.destroy();
  await stop();
});

test("attach() changes ALPN and the lowest version with the rest, or reports what the runtime cannot change", async () => {
  const state = new TlsState(configOf(first, { alpnProtocols: ["one"] }));
  const { port, attachment, stop } = await start("tls", state, { onError: () => {} });
  assertEquals((await visit(port, { ALPNProtocols: ["one", "two"] })).alpn, "one");
  state.swap(configOf(second, { alpnProtocols: ["two"], minVersion: "TLSv1.3" }));
  if (isBun) {
    assertEquals((await assertRejects(() => attachment.verified(), TlsReloadError, "Bun")).code, "UNSUPPORTED");
    const { alpn, fingerprint256 } = await visit(port, { ALPNProtocols: ["one", "two"] });
    assertEquals([alpn, fingerprint256], ["one", first.fingerprint256]);
  } else {
    await attachment.verified();
    const { alpn, fingerprint256, protocol } = await visit(port, { ALPNProtocols: ["one", "two"] });
    assertEquals([alpn, fingerprint256, protocol], ["two", second.fingerprint256, "TLSv1.3"]);
    assertEquals((await visit(port, { maxVersion: "TLSv1.2" })).greeting, undefined);
  }
  await stop();
});

test("attach() hides the key of the server that it gives one to, also from console.dir()", async () => {
  // A key so short that lists which are cut off hold it all.
  const small = await issueServer("small", { algorithm: "Ed25519" });
  secretKey(small.key);
  for (const kind of KINDS) {
    const state = new TlsState(a);
    const { server, attachment, stop } = await start(kind, state);
    state.swap(configOf(small));
    await attachment.verified();
    assertPrintsNoSecret(server);
    // http2 keeps a copy of its own.
    if (kind !== "http2") assertListsNoSecret(server);
    await stop();
  }
});

test("attach() lets go when it is disposed of: the server keeps what it serves", async () => {
  const state = new TlsState(a);
  const { server, port, attachment, stop } = await start("tls", state);
  assertThrows(() => attach(state, server), TypeError, "attached already");
  attachment[Symbol.dispose]();
  state.swap(b);
  assertEquals((await visit(port)).fingerprint256, first.fingerprint256);
  const again = attach(state, server);
  assertEquals((await visit(port)).fingerprint256, second.fingerprint256);
  await again.verified();
  again[Symbol.dispose]();
  await stop();
});

test("attach() refuses at once a server that the runtime cannot change, and says what to use instead", () => {
  const server = SERVERS.https(new TlsState(a));
  // Elsewhere every server can be changed: one that could not would look like this.
  if (!isBun) Object.assign(server, { setSecureContext: undefined });
  const error = assertThrows(() => attach(new TlsState(a), server), TlsReloadError, "state.acceptor()");
  assertEquals(error.code, "UNSUPPORTED");
  server.close();
});

test("secureContext() gives the context of a configuration to an SNICallback", async () => {
  const tenants = new Map([["a.test", new TlsState(a)], ["b.test", new TlsState(b)]]);
  const server = createTlsServer({
    ...tenants.get("a.test")!.tls,
    SNICallback: (name, done) => done(null, secureContext(tenants.get(name)!.current())),
  }, (socket: TLSSocket) => socket.end("generation 0\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  assertEquals((await visit(portOf(server), { servername: "b.test" })).fingerprint256, second.fingerprint256);
  tenants.get("b.test")!.swap(a);
  assertEquals((await visit(portOf(server), { servername: "b.test" })).fingerprint256, first.fingerprint256);
  assert(server.close());
});
