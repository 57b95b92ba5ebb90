import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { JsonGeneralName } from "@peculiar/x509";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import type { Socket } from "node:net";
import { duplexPair } from "node:stream";
import test, { after, afterEach } from "node:test";
import { connect, type ConnectionOptions, createServer } from "node:tls";
import { attach } from "../../src/node.ts";
import { type ClientHello, TlsConfig, type TlsConfigOptions, TlsReloadError, TlsState } from "../../mod.ts";
import { issue, type Issued, type IssueOptions } from "../support/certificates.ts";
import { captureHello, inRecords, opensslClient } from "../support/client_hellos.ts";
import { clientHello, dialTcp, echoServer, OpensslClient, portOf, visit } from "../support/peers.ts";
import { type Asked, visitAskingTwice } from "../support/retrying_client.ts";
import { runtimeName } from "../support/runtimes.ts";
import { tcpPair } from "../support/tcp.ts";
import { type Ask, namedClients } from "../support/tls_clients.ts";

/** Issues a certificate for names, of which those that begin with a digit are addresses. */
function issueFor(commonName: string, names: readonly string[], options: IssueOptions = {}): Promise<Issued> {
  const all: JsonGeneralName[] = names.map((value) => ({ type: /^\d/.test(value) ? "ip" : "dns", value }));
  return issue(commonName, { names: all, ...options });
}

const rsa = { algorithm: "RSA" } as const;
const [defaultEc, defaultRsa] = [
  await issueFor("default EC", ["d.test"]),
  await issueFor("default RSA", ["d.test"], rsa),
];
const [namedEc, namedRsa] = [await issueFor("named EC", ["n.test"]), await issueFor("named RSA", ["n.test"], rsa)];
const wildcard = await issueFor("wildcard", ["*.w.test"]);
const exact = await issueFor("exact", ["exact.w.test"], rsa);
const address = await issueFor("address", ["127.0.0.1"]);

function configOf(issued: readonly Issued[], options: TlsConfigOptions<string> = {}): TlsConfig {
  return new TlsConfig({ ...options, certifiedKeys: issued.map(({ cert, key }) => ({ cert, key })) });
}

interface RunningServer extends AsyncDisposable {
  readonly port: number;
}

async function attachedServer(state: TlsState): Promise<RunningServer> {
  const server = createServer((secure) => {
    secure.on("error", () => {});
    secure.write(`generation ${state.generation}\n`);
    secure.pipe(secure);
  });
  attach(state, server);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: portOf(server),
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const SERVERS: readonly (readonly [kind: string, start: (state: TlsState) => Promise<RunningServer>])[] = [
  ["acceptor()", echoServer],
  // Servers of Bun accept outside of JavaScript.
  ...(runtimeName().startsWith("bun") ? [] : [["attach()", attachedServer] as const]),
];

const open: AsyncDisposable[] = [];
/** Disposes of something at the end of the test. */
function disposed<T extends AsyncDisposable>(opened: T): T {
  open.push(opened);
  return opened;
}
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]();
});

const { clients, dispose } = await namedClients();
after(dispose);

/** Which certificate is served to whom: by its common name, or none. */
type Row = readonly [what: string, keys: readonly Issued[], ask: Ask, expected: string | undefined, refuse?: "refuse"];

/** Both keys of one name, asked for by a client of each kind. */
const BOTH_KINDS: readonly Row[] = (["EC", "RSA"] as const).flatMap((kind) =>
  (["TLSv1.2", "TLSv1.3"] as const).flatMap((version): Row[] => [
    [
      `the ${kind} key of a name, ${version}`,
      [defaultEc, namedRsa, namedEc],
      { name: "n.test", kind, version },
      `named ${kind}`,
    ],
    [
      `the ${kind} key of the default, ${version}`,
      [defaultRsa, defaultEc, namedEc],
      { kind, version },
      `default ${kind}`,
    ],
  ])
);
const TABLE: readonly Row[] = [
  ["an RSA certificate beside an EC default", [defaultEc, namedRsa], { name: "n.test" }, "named RSA"],
  ["an EC default beside an RSA certificate", [defaultEc, namedRsa], { name: "d.test" }, "default EC"],
  ["an EC certificate beside an RSA default", [defaultRsa, namedEc], { name: "n.test" }, "named EC"],
  ["an RSA default beside an EC certificate", [defaultRsa, namedEc], { name: "d.test" }, "default RSA"],
  ...BOTH_KINDS,
  [
    "the EC key of a name to a client that can verify both",
    [defaultEc, namedRsa, namedEc],
    { name: "n.test" },
    "named EC",
  ],
  ["a wildcard", [defaultEc, wildcard, exact], { name: "any.w.test" }, "wildcard"],
  ["an exact name before a wildcard", [defaultEc, wildcard, exact], { name: "exact.w.test" }, "exact"],
  ["the default for two labels in place of a wildcard", [defaultEc, wildcard], { name: "a.b.w.test" }, "default EC"],
  ["the default for an unknown name", [defaultEc, namedRsa], { name: "unknown.test" }, "default EC"],
  [
    "an alert for an unknown name that is refused",
    [defaultEc, namedRsa],
    { name: "unknown.test" },
    undefined,
    "refuse",
  ],
  ["a known name where unknown ones are refused", [defaultEc, namedRsa], { name: "n.test" }, "named RSA", "refuse"],
  ["the default where no name is sent", [defaultEc, namedRsa], {}, "default EC"],
  ["the default where no name is sent and unknown ones are refused", [defaultEc, namedRsa], {}, "default EC", "refuse"],
  ["the certificate of the local address where no name is sent", [defaultEc, address], {}, "address"],
  ["a name in upper case", [defaultEc, namedRsa], { name: "N.TEST" }, "named RSA"],
  ["a name with a trailing dot", [defaultEc, namedRsa], { name: "n.test." }, "named RSA"],
];

for (const [kind, start] of SERVERS) {
  for (const { title, can, commonName } of clients) {
    test(`${kind} serves ${title} the certificate of the name`, async () => {
      for (const [what, keys, ask, expected, unknownName] of TABLE.filter(([, , ask]) => can(ask))) {
        const server = disposed(await start(new TlsState(configOf(keys, unknownName && { unknownName }))));
        assertEquals(await commonName(server.port, ask), expected, what);
      }
    });
  }

  for (const pieceBytes of [1, 300]) {
    test(`${kind} reads a hello in pieces of ${pieceBytes} bytes`, async () => {
      const server = disposed(await start(new TlsState(configOf([defaultEc, namedRsa]))));
      const [near, far] = duplexPair();
      const raw = await dialTcp(server.port);
      raw.setNoDelay(true).pipe(far);
      (async () => {
        for await (const chunk of far) {
          for (let at = 0; at < chunk.length; at += pieceBytes) {
            await new Promise((resolve) => raw.write(chunk.subarray(at, at + pieceBytes), resolve));
          }
        }
      })().catch(() => {});
      const client = connect({ socket: near, servername: "n.test", rejectUnauthorized: false });
      await once(client, "secureConnect");
      assertEquals(client.getPeerCertificate().subject.CN, "named RSA");
      for (const socket of [client, near, far, raw]) socket.destroy();
    });
  }

  test(`${kind} reads a hello in several records`, async () => {
    const server = disposed(await start(new TlsState(configOf([defaultEc, namedRsa]))));
    for (const payloadBytes of [1, 100]) {
      const hello = await captureHello(opensslClient("-servername", "n.test", "-tls1_2"));
      const client = await dialTcp(server.port);
      client.write(inRecords(hello, payloadBytes));
      let answer = Buffer.alloc(0);
      // The answer of TLS 1.2 holds the certificate in the clear.
      while (!answer.includes("named RSA")) answer = Buffer.concat([answer, (await once(client, "data"))[0]]);
      client.destroy();
    }
  });

  test(`${kind} refuses a client whose second hello asks for something else`, async () => {
    const options = { unknownName: "refuse", ecdhCurve: "P-256", alpnProtocols: ["one", "two"] } as const;
    const server = disposed(await start(new TlsState(configOf([defaultEc, namedEc], options))));
    const first = { name: "n.test", alpn: "one" };
    const visitTwice = (asked: Asked, again: Asked) =>
      visitAskingTwice(server.port, asked, again).catch(() => "refused");
    assertEquals(await visitTwice(first, first), "generation 0\n");
    // BoringSSL answers the first hello, whatever the second one asks for.
    const refused = runtimeName().startsWith("bun") ? "generation 0\n" : "refused";
    assertEquals(await visitTwice(first, { ...first, name: "d.test" }), refused);
    assertEquals(await visitTwice(first, { ...first, name: "unknown.test" }), refused);
    assertEquals(await visitTwice({ alpn: "one" }, first), refused);
    assertEquals(await visitTwice(first, { ...first, alpn: "two" }), refused);
  });

  for (const version of ["-tls1_2", "-tls1_3"]) {
    test(`${kind} resumes no session under another name (openssl s_client ${version})`, async () => {
      const server = disposed(await start(new TlsState(configOf([defaultEc, namedRsa, wildcard]))));
      const client = disposed(await OpensslClient.create());
      const ask = (name: string, resume: boolean) =>
        client.run(server.port, { resume, args: [version, "-servername", name] });
      assertEquals((await ask("n.test", false)).reused, false);
      const other = await ask("a.w.test", true);
      assertEquals(other.reused, false);
      assertStringIncludes(other.output, "CN = wildcard");
      assertEquals((await ask("n.test", false)).reused, false);
      const same = await ask("n.test", true);
      assertEquals(same.reused, true);
    });
  }
}

test("TlsState serves clients of many names with the right certificates, also with one context", async () => {
  const certificates = [defaultEc, namedRsa, wildcard, exact];
  const names = ["d.test", "n.test", "any.w.test", "exact.w.test"];
  const state = new TlsState(configOf(certificates), { maxContexts: 1 });
  const server = disposed(await echoServer(state));
  const visits = Array.from({ length: 24 }, async (_, index) => {
    if (index % 6 === 0) state.swap(configOf(certificates));
    const { fingerprint256 } = await visit(server.port, { servername: names[index % 4]! });
    assertEquals(fingerprint256, certificates[index % 4]!.fingerprint256);
  });
  await Promise.all(visits);
});

test("TlsAcceptor.accept() refuses an unknown name with the alert unrecognized_name", async () => {
  const server = disposed(await echoServer(new TlsState(configOf([defaultEc], { unknownName: "refuse" }))));
  const client = disposed(await OpensslClient.create());
  const refused = server.nextRefusal();
  const { output } = await client.run(server.port, { args: ["-servername", "unknown.test"] });
  assertStringIncludes(output, "unrecognized name");
  const { code, message } = await refused;
  assertEquals([code, message], [
    "HANDSHAKE_FAILED",
    "Cannot accept connection: no certificate holds the name that the client asks for",
  ]);
  // The same server accepts the name of its only certificate.
  assertEquals((await visit(server.port, { servername: "d.test" })).fingerprint256, defaultEc.fingerprint256);
});

test("TlsAcceptor.accept() closes a connection that is not TLS at its first byte", async () => {
  const server = disposed(await echoServer(new TlsState(configOf([defaultEc, namedRsa]))));
  const client = await dialTcp(server.port);
  const refused = server.nextRefusal();
  client.write("G");
  const { code, message } = await refused;
  assertEquals([code, message], ["HANDSHAKE_FAILED", "Cannot accept connection: the bytes are not TLS"]);
  client.destroy();
});

test("TlsAcceptor.accept() rejects if the hello does not arrive in time", async () => {
  const server = await echoServer(new TlsState(configOf([defaultEc, namedRsa])), { handshakeTimeoutMs: 200 });
  const client = await dialTcp(server.port);
  client.write((await clientHello()).subarray(0, 100));
  assertEquals((await server.nextRefusal()).code, "HANDSHAKE_TIMEOUT");
  client.destroy();
  await server[Symbol.asyncDispose]();
});

test("TlsAcceptor.accept() rejects if the peer leaves or its signal is aborted while the hello arrives", async () => {
  const acceptor = new TlsState(configOf([defaultEc, namedRsa])).acceptor();
  const reason = new Error("too slow");
  const controller = new AbortController();
  const endings: [leave: (far: Socket) => void, expected: unknown][] = [
    [(far) => far.end(), "HANDSHAKE_FAILED"],
    [(far) => far.resetAndDestroy(), "HANDSHAKE_FAILED"],
    [() => controller.abort(reason), reason],
  ];
  for (const [leave, expected] of endings) {
    const [near, far] = await tcpPair();
    const accepting = acceptor.accept(near, { signal: controller.signal });
    const arrived = once(near, "data");
    far.on("error", () => {}).write((await clientHello()).subarray(0, 100));
    await arrived;
    leave(far);
    const error: unknown = await accepting.catch((error) => error);
    assertEquals(error instanceof TlsReloadError ? error.code : error, expected);
    assert(near.destroyed);
    far.destroy();
  }
});

test("TlsAcceptor.accept() leaves the connection alone once its signal is aborted, before and in onClientHello", async () => {
  const acceptor = new TlsState(configOf([defaultEc, namedRsa])).acceptor();
  const hello = await clientHello();
  for (const isLate of [false, true]) {
    const controller = new AbortController();
    const abort = () => controller.abort(new Error("shutting down"));
    let calls = 0;
    const onClientHello = () => {
      calls++;
      abort();
    };
    const [near] = await tcpPair();
    near.pause().unshift(hello);
    const listeners = () => ["data", "end", "close"].map((event) => near.listenerCount(event));
    const before = listeners();
    const accepting = acceptor.accept(near, { signal: controller.signal, onClientHello });
    if (!isLate) abort();
    await assertRejects(() => accepting, Error, "shutting down");
    if (!near.closed) await once(near, "close");
    assertEquals([calls, listeners()], [isLate ? 1 : 0, before]);
  }
});

test("TlsAcceptor.accept() passes the hello to onClientHello, which can refuse the client", async () => {
  const acceptor = new TlsState(configOf([defaultEc])).acceptor();
  const hellos: ClientHello[] = [];
  const run = async (onClientHello: (hello: ClientHello) => void) => {
    const [near, far] = duplexPair();
    const accepting = acceptor.accept(near, { onClientHello });
    const options: ConnectionOptions = { socket: far, servername: "d.test", rejectUnauthorized: false };
    const client = connect({ ...options, ALPNProtocols: ["h2", "imap"] }).on("error", () => {});
    return await accepting.finally(() => client.destroy());
  };
  (await run((hello) => void hellos.push(hello))).destroy();
  assertEquals(hellos.map(({ serverName, alpnProtocols }) => [serverName, alpnProtocols]), [["d.test", [
    "h2",
    "imap",
  ]]]);

  const reason = new Error("not here");
  const error = await assertRejects(() =>
    run(() => {
      throw reason;
    }), TlsReloadError);
  assertEquals([error.code, error.cause], ["HANDSHAKE_FAILED", reason]);
  // Nobody waits for a promise, so the client must not enter before it decides.
  const thenable = { then: (_resolve: unknown, reject: (error: Error) => void) => reject(reason) };
  for (const late of [Promise.resolve(), Promise.reject(reason), thenable]) {
    const { code, cause } = await assertRejects(() => run(() => late as never), TlsReloadError);
    assertEquals([code, cause instanceof TypeError], ["HANDSHAKE_FAILED", true]);
  }
});

test("TlsAcceptor.accept() keeps its configuration while the hello arrives", async () => {
  const state = new TlsState(configOf([defaultEc, namedEc]));
  const server = disposed(await echoServer(state));
  const hello = await clientHello({ servername: "n.test", maxVersion: "TLSv1.2" });
  const client = await dialTcp(server.port);
  client.write(hello.subarray(0, 100));
  // Another connection shows that the server has seen this one.
  await visit(server.port, { servername: "n.test" });
  state.swap(configOf([defaultEc, namedRsa]));
  client.write(hello.subarray(100));
  let answer = Buffer.alloc(0);
  while (!answer.includes("named EC")) answer = Buffer.concat([answer, (await once(client, "data"))[0]]);
  client.destroy();
  assertEquals((await visit(server.port, { servername: "n.test" })).fingerprint256, namedRsa.fingerprint256);
});

test("TlsState.tls throws for several certified keys, and names the alternatives", () => {
  for (const config of [configOf([defaultEc, namedRsa]), configOf([defaultEc], { unknownName: "refuse" })]) {
    const state = new TlsState(config);
    try {
      state.tls;
      assert(false, "no error");
    } catch (error) {
      assert(error instanceof TlsReloadError && error.code === "UNSUPPORTED");
      for (const other of ["serve()", "attach()", "tlsOptions()"]) assertStringIncludes(error.message, other);
    }
  }
});
