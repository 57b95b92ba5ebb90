import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { constants } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpsServer } from "node:https";
import process from "node:process";
import test from "node:test";
import { connect, type ConnectionOptions, createServer, type Server, type TlsOptions, type TLSSocket } from "node:tls";
import { TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { attach, type AttachOptions } from "../../src/node.ts";
import { issue, issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { opensslText } from "../support/openssl.ts";
import { closed, configOf, dialTcp, echoServer, OpensslClient, portOf, visit } from "../support/peers.ts";
import { until } from "../support/tcp.ts";

const { bun, deno } = process.versions as { bun?: string; deno?: string };
const ON_BUN = bun !== undefined && "Bun accepts outside of JavaScript: attach_test.ts has what holds there";
const NOT_NODE = (bun !== undefined || deno !== undefined) && "only Node keeps these options on the server";
const [first, second] = [await issueServer("first"), await issueServer("second")];
const [a, b] = [configOf(first), configOf(second)];
const [ca, otherCa] = [await issueCa("clients"), await issueCa("others")];
const client = await issueClient("client", { issuer: ca });
const trusting = (...cas: { cert: string }[]): TlsConfig =>
  configOf(first, { clientAuth: { mode: "required", ca: cas.map(({ cert }) => cert).join("") } });

async function start(state: TlsState, options: TlsOptions = {}, attachOptions: AttachOptions = {}) {
  const server = createServer(options, (secure) => {
    secure.on("error", () => {}).resume();
    secure.write(`generation ${state.generation}\n`);
  });
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => sockets.add(socket));
  const attachment = attach(state, server, attachOptions);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { server, attachment, port: portOf(server), stop };
}

/** Connects until it is greeted or refused, and gives its session. */
async function meet(port: number, options: ConnectionOptions) {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  const session = once(socket, "session").catch(() => []);
  const isGreeted = await once(socket, "data").then(() => true, () => false);
  const isReused = socket.isSessionReused();
  const [saved] = isReused || !isGreeted ? [] : await session;
  socket.destroy();
  return { isGreeted, isReused, session: saved as Buffer | undefined };
}

/** What a server may be created with that does not follow a swap, and the words of the refusal. */
const REFUSED: Record<string, readonly [create: () => Server, words: string, skip?: string | false]> = {
  "an SNICallback": [() => createServer({ SNICallback: () => {} }), "the server has an SNICallback"],
  "contexts of addContext()": [() => {
    const server = createServer();
    server.addContext("a.test", { cert: first.cert, key: first.key });
    return server;
  }, "the server has contexts of addContext()"],
  "an ALPNCallback": [
    () => createServer({ ALPNCallback: () => undefined }),
    "the server has an ALPNCallback, which a swap cannot change; use alpnProtocols of TlsConfig",
    NOT_NODE,
  ],
  "a pskCallback": [() => createServer({ pskCallback: () => null }), "the server has a pskCallback", NOT_NODE],
  "secureProtocol": [() => createServer({ secureProtocol: "TLS_method" }), "the server has secureProtocol", NOT_NODE],
  "requestCert": [() => createServer({ requestCert: true }), "the server has requestCert"],
  "requestCert without a refusal": [
    () => createServer({ requestCert: true, rejectUnauthorized: false }),
    "the server has requestCert, which a swap cannot change; use clientAuth of TlsConfig",
  ],
};

for (const [what, [create, words, skip]] of Object.entries(REFUSED)) {
  test(
    `attach() throws UNSUPPORTED for a server with ${what}, and does not change it`,
    { skip: skip || ON_BUN },
    () => {
      const server = create();
      const before = server.rawListeners("connection");
      const error = assertThrows(() => attach(new TlsState(a), server), TlsReloadError, words);
      assertEquals(error.code, "UNSUPPORTED");
      assertEquals(server.rawListeners("connection"), before);
    },
  );
}

test("setSecureContext() and addContext() of an attached server throw UNSUPPORTED", { skip: ON_BUN }, () => {
  const server = createServer();
  const attachment = attach(new TlsState(a), server);
  const pair = { cert: second.cert, key: second.key };
  for (const call of [() => server.setSecureContext(pair), () => server.addContext("a.test", pair)]) {
    assertEquals(assertThrows(call, TlsReloadError, "use state.swap()").code, "UNSUPPORTED");
  }
  attachment[Symbol.dispose]();
  server.setSecureContext(pair);
  server.addContext("a.test", pair);
});

test("attach() keeps the options of a server, and the configuration takes precedence", { skip: NOT_NODE }, async () => {
  const state = new TlsState(a);
  const AES_256 = "ECDHE-ECDSA-AES256-GCM-SHA384";
  const { port, stop } = await start(state, { ciphers: AES_256, maxVersion: "TLSv1.2", ecdhCurve: "P-384:P-256" });
  const openssl = await OpensslClient.create();
  const enters = async (...args: string[]) => (await openssl.run(port, { args })).greeted;
  for (const config of [a, b]) {
    state.swap(config);
    assertEquals(await enters("-tls1_2", "-cipher", AES_256), true);
    assertEquals(await enters("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), false);
    assertEquals(await enters("-tls1_2", "-groups", "X25519:P-521"), false);
    assertEquals(await enters("-tls1_3"), false);
  }
  state.swap(configOf(first, { ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" }));
  assertEquals(await enters("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), true);
  assertEquals(await enters("-tls1_2", "-cipher", AES_256), false);
  await openssl[Symbol.asyncDispose]();
  await stop();
});

test(
  "attach() does not widen the versions of a server, except those from state.tls",
  { skip: ON_BUN },
  async () => {
    const strict = configOf(first, { minVersion: "TLSv1.3" });
    for (
      const [state, options, letsIn] of [
        [new TlsState(a), { minVersion: "TLSv1.3" }, false],
        [new TlsState(strict), new TlsState(strict).tls, true],
      ] as [TlsState, TlsOptions, boolean][]
    ) {
      const { port, stop } = await start(state, options);
      const seen = await visit(port, { maxVersion: "TLSv1.2" });
      assertEquals(seen.greeting, undefined);
      state.swap(b);
      assertEquals((await visit(port, { maxVersion: "TLSv1.2" })).greeting !== undefined, letsIn);
      await stop();
    }
  },
);

test("attach() keeps the crl of a server through swaps", { skip: NOT_NODE }, async () => {
  const config =
    `[ca]\ndefault_ca = default\n[default]\ndefault_md = sha256\ndefault_crl_days = 1\ndatabase = /dev/null\n`;
  const crl = opensslText("ca -gencrl -cert FILE -keyfile FILE -config CONFIG", ca.cert + ca.key, config);
  assert(crl.includes("BEGIN X509 CRL"));
  const state = new TlsState(trusting(ca, otherCa));
  const { port, stop } = await start(state, { crl });
  const { cert, key } = client;
  const other = await issueClient("other", { issuer: otherCa });
  for (let round = 0; round < 2; round++) {
    assert((await visit(port, { cert, key })).greeting);
    // Node refuses clients of an authority without a CRL, so that this shows that the CRL is in force.
    assertEquals((await visit(port, { cert: other.cert, key: other.key })).greeting, undefined);
    state.swap(configOf(second, { clientAuth: { mode: "required", ca: ca.cert + otherCa.cert } }));
  }
  await stop();
});

test("swap() throws if the options of an attached server do not fit", { skip: NOT_NODE }, async () => {
  const state = new TlsState(a);
  const { port, stop } = await start(state, { maxVersion: "TLSv1.2" });
  const next = configOf(second, { minVersion: "TLSv1.3" });
  assertEquals(assertThrows(() => state.swap(next), TlsReloadError, "do not fit").code, "CONFIG_UNUSABLE");
  assertEquals([state.current(), state.generation], [a, 0]);
  assertEquals((await visit(port)).fingerprint256, first.fingerprint256);
  const other = createServer({ maxVersion: "TLSv1.2" });
  assertThrows(() => attach(new TlsState(next), other), TlsReloadError, "do not fit");
  await stop();
});

for (const version of ["-tls1_2", "-tls1_3"]) {
  test(
    `session tickets of Node stay valid over swaps that keep trust, ALPN and versions (openssl s_client ${version})`,
    { skip: NOT_NODE },
    async () => {
      const state = new TlsState(a);
      const { port, stop } = await start(state);
      const openssl = await OpensslClient.create();
      const reused = async () => (await openssl.run(port, { resume: true, args: [version] })).reused;
      const renew = () => openssl.run(port, { args: [version] });
      await renew();
      state.swap(b);
      state.swap(configOf(second, { ecdhCurve: "P-256:X25519" }));
      assertEquals(await reused(), true);
      await renew();
      state.swap(configOf(second, { alpnProtocols: ["x"] }));
      assertEquals(await reused(), false);
      await renew();
      state.swap(trusting(ca));
      state.swap(configOf(second, { alpnProtocols: ["x"] }));
      assertEquals(await reused(), false);
      await openssl[Symbol.asyncDispose]();
      await stop();
    },
  );

  test(`ticketKeys and setTicketKeys() of a server of Node stay in use after each swap (openssl s_client ${version})`, {
    skip: NOT_NODE,
  }, async () => {
    for (const isOption of [true, false]) {
      const state = new TlsState(a);
      const ticketKeys = Buffer.alloc(48, 7);
      const { server, port, stop } = await start(state, isOption ? { ticketKeys } : {});
      if (!isOption) server.setTicketKeys(ticketKeys);
      const openssl = await OpensslClient.create();
      await openssl.run(port, { args: [version] });
      state.swap(configOf(second, { alpnProtocols: ["x"] }));
      assertEquals((await openssl.run(port, { resume: true, args: [version] })).reused, true);
      server.setTicketKeys(Buffer.alloc(48, 8));
      assertEquals((await openssl.run(port, { resume: true, args: [version] })).reused, false);
      await openssl[Symbol.asyncDispose]();
      await stop();
    }
  });
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(
    `servers that share ticket keys or sessions resume no session of a client that another one has verified (${version})`,
    { skip: NOT_NODE },
    async () => {
      const ticketKeys = Buffer.alloc(48, 9);
      const sessions = new Map<string, Buffer>();
      const startMember = async () => {
        const member = await start(new TlsState(trusting(ca)), { ticketKeys });
        member.server.on("newSession", (id, data, done) => (sessions.set(id.toString("hex"), data), done()));
        member.server.on("resumeSession", (id, done) => done(null, sessions.get(id.toString("hex")) ?? null));
        return member;
      };
      const [one, two] = [await startMember(), await startMember()];
      for (const secureOptions of version === "TLSv1.2" ? [0, constants.SSL_OP_NO_TICKET] : [0]) {
        const options = { maxVersion: version, secureOptions, cert: client.cert, key: client.key };
        const { session } = await meet(one.port, options);
        const outcomes = [];
        for (const { port } of [two, one]) outcomes.push(await meet(port, { ...options, session }));
        assertEquals(outcomes.map(({ isGreeted, isReused }) => ({ isGreeted, isReused })), [
          { isGreeted: true, isReused: false },
          { isGreeted: true, isReused: true },
        ], `secureOptions ${secureOptions}`);
      }
      await Promise.all([one.stop(), two.stop()]);
    },
  );
}

test("a session that the application has stored is not resumed under another name", { skip: NOT_NODE }, async () => {
  const issued = [first, await issue("named", { names: [{ type: "dns", value: "n.test" }] })];
  const { server, port, stop } = await start(
    new TlsState(new TlsConfig({ certifiedKeys: issued.map(({ cert, key }) => ({ cert, key })) })),
  );
  const sessions = new Map<string, Buffer>();
  server.on("newSession", (id: Buffer, session: Buffer, done: () => void) => {
    sessions.set(id.toString("hex"), session);
    done();
  });
  server.on("resumeSession", (id: Buffer, done: (error: null, session: Buffer | null) => void) => {
    done(null, sessions.get(id.toString("hex")) ?? null);
  });
  const openssl = await OpensslClient.create();
  const isReused = async (name: string, resume: boolean) =>
    (await openssl.run(port, { resume, args: ["-tls1_2", "-no_ticket", "-servername", name] })).reused;
  assertEquals(await isReused("localhost", false), false);
  assertEquals(await isReused("n.test", true), false);
  assertEquals(await isReused("localhost", true), true);
  await openssl[Symbol.asyncDispose]();
  await stop();
});

test("servers of one state greet a client that resumes its session of another one (openssl s_client)", {
  skip: ON_BUN,
}, async () => {
  const state = new TlsState(trusting(ca));
  const acceptor = await echoServer(state);
  const [one, two, foreign] = [await start(state), await start(state), await start(new TlsState(trusting(ca)))];
  const openssl = await OpensslClient.create(client);
  for (const args of [["-tls1_2"], ["-tls1_3"]]) {
    await openssl.run(one.port, { args });
    const greets = async ({ port }: { port: number }) => (await openssl.run(port, { args, resume: true })).greeted;
    // Deno lets it resume on any server, also on that of another state, which has not verified it.
    const outcomes = [await greets(two), await greets(acceptor), await greets(foreign)];
    assertEquals(outcomes, [true, true, deno === undefined], `${args}`);
  }
  await Promise.all([one.stop(), two.stop(), foreign.stop(), openssl[Symbol.asyncDispose]()]);
  await acceptor[Symbol.asyncDispose]();
});

test(
  "an attached server emits our errors with the encrypted socket where it refuses itself",
  { skip: ON_BUN },
  async () => {
    const state = new TlsState(a);
    const reported: string[] = [];
    const onTlsError = ({ code }: TlsReloadError) => void reported.push(code);
    const { server, port, stop } = await start(state, {}, { handshakeTimeoutMs: 200, onTlsError });
    const emitted: unknown[] = [];
    server.on("tlsClientError", (error: NodeJS.ErrnoException, secure: TLSSocket & { server?: Server }) => {
      emitted.push([error instanceof TlsReloadError && error.code, secure.encrypted, secure.server === server]);
    });
    const silent = await dialTcp(port);
    await closed(silent);
    await until(() => reported.length === 1);
    assertEquals([emitted, reported], [[["HANDSHAKE_TIMEOUT", true, true]], ["HANDSHAKE_TIMEOUT"]]);
    await stop();
  },
);

test(
  "an attached server refuses a client whose handshake spans a swap, and emits the error with the encrypted socket",
  { skip: ON_BUN },
  async () => {
    const state = new TlsState(a);
    const { server, port, stop } = await start(state, {});
    const refused = once(server, "tlsClientError") as Promise<[TlsReloadError, TLSSocket & { server?: Server }]>;
    const late = await dialTcp(port);
    while (await new Promise((resolve) => server.getConnections((_error, count) => resolve(count))) === 0);
    state.swap(trusting(ca));
    const visitor = connect({ socket: late, rejectUnauthorized: false }).on("error", () => {});
    const [error, secure] = await refused;
    assertEquals([error.code, secure.encrypted, secure.server === server], ["CLIENT_UNAUTHORIZED", true, true]);
    visitor.destroy();
    await stop();
  },
);

test("an attached server reports the runtime's refusals to onTlsError as well", { skip: ON_BUN }, async () => {
  const reported = Promise.withResolvers<TlsReloadError>();
  const { port, stop } = await start(new TlsState(trusting(ca)), {}, { onTlsError: reported.resolve });
  await visit(port);
  const { code, cause } = await reported.promise;
  assertEquals([code, cause instanceof Error], ["CLIENT_UNAUTHORIZED", true]);
  await stop();
});

test("an attached server serves on when onTlsError throws or rejects", { skip: ON_BUN }, async () => {
  const wrong = [
    () => {
      throw new Error("onTlsError throws");
    },
    () => Promise.reject(new Error("onTlsError rejects")),
  ];
  for (const onTlsError of wrong) {
    const { port, stop } = await start(new TlsState(a), {}, { onTlsError });
    const warned = once(process, "warning");
    const garbage = await dialTcp(port);
    garbage.end("garbage");
    assertMatch((await warned)[0].message, /^onTlsError (?:throws|rejects)$/);
    assertEquals((await visit(port)).fingerprint256, first.fingerprint256);
    await stop();
  }
});

test("attach() makes an https server without a certificate serve", { skip: ON_BUN }, async () => {
  const state = new TlsState(a);
  const server = createHttpsServer((_request, response) => response.end("generation 0\n"));
  attach(state, server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  assertEquals((await visit(portOf(server))).fingerprint256, first.fingerprint256);
  server.closeAllConnections();
  server.close();
});

test("a disposed attachment completes the handshakes that have begun", { skip: ON_BUN }, async () => {
  const state = new TlsState(a);
  const { server, attachment, port, stop } = await start(state);
  const socket = await dialTcp(port);
  while (await new Promise((resolve) => server.getConnections((_error, count) => resolve(count))) === 0);
  attachment[Symbol.dispose]();
  const visitor = connect({ socket, rejectUnauthorized: false }).on("error", () => {});
  await once(visitor, "secureConnect");
  assertEquals(visitor.getPeerCertificate().fingerprint256, first.fingerprint256);
  visitor.destroy();
  await stop();
});
