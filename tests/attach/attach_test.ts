import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createPlainServer } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import test from "node:test";
import { createServer as createTlsServer, type Server, type TLSSocket } from "node:tls";
import { TlsReloadError, TlsState } from "../../mod.ts";
import type { AcceptingServer } from "../../src/attach/accepting_server.ts";
import type { ContextServer } from "../../src/attach/context_server.ts";
import type { HandoffServer } from "../../src/attach/handoff_server.ts";
import type { AttachMechanism } from "../../src/attach/attachment.ts";
import { attach, type Attachment, type AttachOptions, secureContext } from "../../src/node.ts";
import { issueServer } from "../support/certificates.ts";
import { testClientAuth } from "../support/client_auth_contract.ts";
import { configOf, dial, portOf, visit } from "../support/peers.ts";
import { assertListsNoSecret, assertPrintsNoSecret, secretKey } from "../support/secrets.ts";
import { NO_UNIX_SOCKETS } from "../support/platform.ts";

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
const KINDS: readonly Kind[] = ["tls", "https", "http2"];
/** Each kind of server with each mechanism that this runtime has for it; the first is the default. */
const WAYS: readonly (readonly [kind: Kind, mechanism: AttachMechanism])[] = isBun
  ? [["tls", "handoff"], ["https", "handoff"], ["http2", "handoff"], ["tls", "context"], ["http2", "context"]]
  : [["tls", "acceptor"], ["https", "acceptor"], ["http2", "acceptor"]];

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

/** Judges the clients of the current configuration of an attached server. */
function verificationOf(attachment: Attachment) {
  return (attachment as AcceptingServer | ContextServer | HandoffServer).verification!;
}

for (const [kind, mechanism] of WAYS) {
  const way = `a ${kind} server (${mechanism})`;

  test(`attach() makes ${way} follow its state and keeps earlier connections alive`, async () => {
    const state = new TlsState(a);
    const { attachment, port, refusals, stop } = await start(kind, state, mechanism === "context" ? { mechanism } : {});
    assertEquals(attachment.mechanism, mechanism);
    const lasting = await dial(port, { ALPNProtocols: ["http/1.1"] });
    for (const [config, issued] of [[b, second], [a, first], [b, second]] as const) {
      state.swap(config);
      assertEquals((await visit(port, { ALPNProtocols: ["http/1.1"] })).fingerprint256, issued.fingerprint256);
    }
    assertEquals(refusals, []);
    lasting.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = "";
    for await (const chunk of lasting) {
      if ((text += chunk).includes("generation ")) break;
    }
    assertStringIncludes(text, "generation ");
    await stop();
  });

  // Servers of Bun.serve do not show the certificates of clients: bun_server_test.ts has what holds there.
  if (kind === "https" && isBun) continue;
  await testClientAuth(`attach() of ${way}`, async (state) => {
    const { attachment, port, refusals, stop } = await start(kind, state, { mechanism });
    return {
      port,
      // A runtime gives its own code to what it refuses itself; that the client stays out is what counts.
      get refusals() {
        return refusals.map(() => "CLIENT_UNAUTHORIZED");
      },
      get verification() {
        return verificationOf(attachment);
      },
      keepsMode: mechanism === "context",
      [Symbol.asyncDispose]: stop,
    };
  });
}

test("attach() serves clients of a unix socket through swaps", { skip: NO_UNIX_SOCKETS }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const path = join(folder, "socket");
  for (const kind of KINDS) {
    if (isBun && kind === "https") continue; // refused, which has a test of its own
    const state = new TlsState(a);
    const server = SERVERS[kind](state).listen(path);
    await once(server, "listening");
    const attachment = attach(state, server);
    for (const [index, config] of [b, a, b, a].entries()) {
      const visits = Array.from({ length: 4 }, () => visit(0, { path, ALPNProtocols: ["http/1.1"] }));
      state.swap(config);
      const clients = await Promise.all(visits);
      clients.push(await visit(0, { path, ALPNProtocols: ["http/1.1"] }));
      for (const { greeting } of clients) assert(greeting, `${kind}, swap ${index}`);
    }
    attachment[Symbol.dispose]();
    await new Promise((resolve) => server.close(resolve));
  }
  await rm(folder, { recursive: true });
});

test("attach() changes ALPN and the lowest version with the rest, or swap() refuses what the runtime cannot change", async () => {
  const state = new TlsState(configOf(first, { alpnProtocols: ["one"] }));
  const { port, stop } = await start("tls", state, isBun ? { mechanism: "context" } : {});
  assertEquals((await visit(port, { ALPNProtocols: ["one", "two"] })).alpn, "one");
  const next = configOf(second, { alpnProtocols: ["two"], minVersion: "TLSv1.3" });
  if (isBun) {
    assertEquals(assertThrows(() => state.swap(next), TlsReloadError, "Bun").code, "UNSUPPORTED");
    const { alpn, fingerprint256 } = await visit(port, { ALPNProtocols: ["one", "two"] });
    assertEquals([alpn, fingerprint256, state.generation], ["one", first.fingerprint256, 0]);
  } else {
    state.swap(next);
    const { alpn, fingerprint256, protocol } = await visit(port, { ALPNProtocols: ["one", "two"] });
    assertEquals([alpn, fingerprint256, protocol], ["two", second.fingerprint256, "TLSv1.3"]);
    assertEquals((await visit(port, { maxVersion: "TLSv1.2" })).greeting, undefined);
    state.swap(configOf(first, { alpnProtocols: ["one"] }));
    assertEquals((await visit(port, { maxVersion: "TLSv1.2" })).greeting, "generation 2");
  }
  await stop();
});

test("attach() hides the key of the server, also from console.dir()", async () => {
  // A key so short that lists which are cut off hold it all.
  const small = await issueServer("small", { algorithm: "Ed25519" });
  secretKey(small.key);
  for (const kind of KINDS) {
    const state = new TlsState(a);
    const { server, attachment, port, stop } = await start(kind, state);
    state.swap(configOf(small));
    await visit(port, { ALPNProtocols: ["http/1.1"] });
    assertPrintsNoSecret([server, attachment]);
    // http2 keeps a copy of its own.
    if (kind !== "http2") assertListsNoSecret(server);
    await stop();
  }
});

test("attach() restores the server when the attachment is disposed of, and can attach it again", async () => {
  const state = new TlsState(a);
  const { server, port, attachment, stop } = await start("tls", state);
  assertThrows(() => attach(state, server), TypeError, "attached already");
  attachment[Symbol.dispose]();
  attachment[Symbol.dispose]();
  assertEquals(attachment.isAttached, false);
  state.swap(b);
  assertEquals((await visit(port)).fingerprint256, first.fingerprint256);
  const again = attach(state, server);
  assertEquals((await visit(port)).fingerprint256, second.fingerprint256);
  again[Symbol.dispose]();
  await stop();
});

test("attach() refuses at once a server that the runtime cannot change, and says what to use instead", () => {
  const server = SERVERS.https(new TlsState(a));
  // Elsewhere every server can be changed: one that could not would look like this.
  if (!isBun) Object.assign(server.removeAllListeners("connection"), { setSecureContext: undefined });
  const mechanism = "context";
  const error = assertThrows(() => attach(new TlsState(a), server, { mechanism }), TlsReloadError, "state.acceptor()");
  assertEquals(error.code, "UNSUPPORTED");
  server.close();
});

test("attach() uses the mechanism that is named, or refuses it", () => {
  const state = new TlsState(a);
  const server = SERVERS.tls(state);
  const mechanism = isBun ? "acceptor" : "handoff";
  assertEquals(assertThrows(() => attach(state, server, { mechanism }), TlsReloadError).code, "UNSUPPORTED");
  for (const mechanism of isBun ? ["context", "handoff"] as const : ["acceptor"] as const) {
    const attachment = attach(state, server, { mechanism });
    assertEquals(attachment.mechanism, mechanism);
    assert(attachment.mechanismReason.length > 0);
    attachment[Symbol.dispose]();
  }
});

const WRONG: Record<string, readonly [call: (state: TlsState, server: Server) => unknown, message: string]> = {
  "swapped arguments": [
    (state, server) => attach(server as never, state as never),
    "Cannot attach to server: 'state' must be a TlsState: a Server; the arguments are swapped",
  ],
  "a promise of a state": [
    (state, server) => attach(Promise.resolve(state) as never, server),
    "Cannot attach to server: 'state' must be a TlsState: a Promise",
  ],
  "no server": [
    (state) => attach(state, undefined as never),
    "Cannot attach to server: 'server' must be a server of node:tls, node:https or node:http2: undefined",
  ],
  "a plain server": [
    (state) => attach(state, createPlainServer()),
    "Cannot attach to server: 'server' must be a server of node:tls, node:https or node:http2: a server without TLS",
  ],
  "an option that is gone": [
    (state, server) => attach(state, server, { context: {} } as never),
    "Unknown option 'context' of attach: use the options of TlsConfig",
  ],
  "a misspelt option": [
    (state, server) => attach(state, server, { handshakeTimeout: 1 } as never),
    "Unknown option 'handshakeTimeout' of attach: use handshakeTimeoutMs",
  ],
  "a time that no timer keeps": [
    (state, server) => attach(state, server, { handshakeTimeoutMs: -1 }),
    "Cannot wait: 'handshakeTimeoutMs' must be",
  ],
  "an unknown mechanism": [
    (state, server) => attach(state, server, { mechanism: "front" as never }),
    `Cannot attach to server: 'mechanism' must be "acceptor", "handoff" or "context": a string`,
  ],
  "a listener that is not a function": [
    (state, server) => attach(state, server, { onTlsError: {} as never }),
    "Cannot call attach: 'onTlsError' must be a function: an object",
  ],
};

for (const [what, [call, message]] of Object.entries(WRONG)) {
  test(`attach() refuses ${what} with a TypeError`, () => {
    const state = new TlsState(a);
    const server = SERVERS.tls(state);
    assertThrows(() => call(state, server), TypeError, message);
    // Nothing is left of the attempt.
    attach(state, server)[Symbol.dispose]();
  });
}

test("secureContext() returns the context of a configuration for an SNICallback", async () => {
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
