import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import process from "node:process";
import test from "node:test";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import {
  type AllowClient,
  type ClientIdentity,
  clientIdentity,
  TlsConfig,
  TlsReloadError,
  TlsState,
} from "../../mod.ts";
import { issueServer } from "../support/certificates.ts";
import { ca, client, intermediate, root } from "../support/client_kinds.ts";
import { commonName, extension, general, type Made, make, nameOf, sequence } from "../support/made_certificates.ts";
import { OpensslClient, portOf, visit } from "../support/peers.ts";

const server = await issueServer("server");

function configOf(anchors: readonly Made[], mode: "required" | "optional" = "required"): TlsConfig {
  const authorities = anchors.map(({ pem }) => pem).join("");
  return new TlsConfig({ cert: server.cert, key: server.key, clientAuth: { mode, ca: authorities } });
}

/** Certificate, chain and key as clients take them. */
function credentials(leaf: Made, ...intermediates: readonly Made[]): { cert: string; key: string } {
  const cert = [leaf, ...intermediates].map(({ pem }) => pem).join("");
  return { cert, key: leaf.key.privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/** An accept loop that tells who has entered. */
async function start(state: TlsState) {
  const entered: (ClientIdentity | undefined)[] = [];
  const sockets: TLSSocket[] = [];
  const errors: TlsReloadError[] = [];
  const raw = new Set<Socket>();
  const listener = createServer((socket) => {
    raw.add(socket);
    state.acceptor().accept(socket).then((secure) => {
      entered.push(clientIdentity(secure));
      sockets.push(secure);
      secure.write("generation 0\n");
    }, (error) => errors.push(error));
  });
  await once(listener.listen(0, "127.0.0.1"), "listening");
  const stop = () => {
    for (const socket of raw) socket.destroy();
    return new Promise((resolve) => listener.close(resolve));
  };
  return { port: portOf(listener), entered, sockets, errors, stop };
}

test("clientIdentity() returns the names of a client and its authority", async () => {
  const { port, entered, sockets, stop } = await start(new TlsState(configOf([ca({ subject: "other" }), root])));
  const names = [
    general.dns("a.test"),
    general.uri("spiffe://example.org/a"),
    general.email("a@b.test"),
    general.ip(10, 0, 0, 1),
    general.directory(commonName("x")),
  ];
  const subject = nameOf(["2.5.4.10", "Example"], ["2.5.4.3", "service, one"]);
  const leaf = make({ issuer: root, subject, extensions: [extension.subjectAltName(...names)] });
  assertEquals((await visit(port, credentials(leaf))).greeting, "generation 0");
  const expected = {
    fingerprint256: leaf.parsed.fingerprint256,
    subject: "CN=service\\, one,O=Example",
    serialNumber: leaf.serialNumber.toString(16).toUpperCase().padStart(2, "0"),
    dnsNames: ["a.test"],
    uris: ["spiffe://example.org/a"],
    emails: ["a@b.test"],
    ipAddresses: ["10.0.0.1"],
    notAfter: new Date(leaf.parsed.notAfter),
    authorities: [root.parsed.fingerprint256],
  };
  assertEquals({ ...entered[0]! }, expected);
  // The connection has ended, and each answer is a new one.
  entered[0]!.notAfter.setTime(0);
  assertEquals({ ...clientIdentity(sockets[0]!)! }, expected);
  await stop();
});

test("clientIdentity() returns the URI of a SPIFFE client with an empty subject", async () => {
  const { port, entered, stop } = await start(new TlsState(configOf([root])));
  const names = extension.raw("2.5.29.17", sequence(general.uri("spiffe://example.org/a")), true);
  await visit(port, credentials(make({ issuer: root, subject: sequence(), extensions: [names] })));
  assertEquals([entered[0]?.subject, entered[0]?.uris], ["", ["spiffe://example.org/a"]]);
  await stop();
});

test("clientIdentity() returns the authority of a client of an intermediate, or all possible ones", async () => {
  const other = ca({ subject: "other" });
  const { port, entered, stop } = await start(new TlsState(configOf([other, root])));
  await visit(port, credentials(client(intermediate), intermediate));
  assertStringIncludes(entered[0]!.authorities.join(), root.parsed.fingerprint256);
  await stop();
});

test("clientIdentity() returns undefined for a client without a certificate", async () => {
  for (const state of [new TlsState(configOf([root], "optional")), new TlsState(new TlsConfig(server0()))]) {
    const { port, entered, stop } = await start(state);
    await visit(port);
    assertEquals(entered, [undefined]);
    await stop();
  }
});

function server0(): { cert: string; key: string } {
  return { cert: server.cert, key: server.key };
}

test("clientIdentity() throws UNSUPPORTED for a connection without an acceptor", async () => {
  const listener = createTlsServer(server0());
  await once(listener.listen(0, "127.0.0.1"), "listening");
  listener.on("secureConnection", (secure) => {
    const error = assertThrows(() => clientIdentity(secure), TlsReloadError, "acceptor()");
    secure.end(`${error.code}\n`);
  });
  assertEquals((await visit(portOf(listener))).greeting, "UNSUPPORTED");
  listener.close();
  for (const socket of [undefined, null, "socket"]) {
    assertThrows(() => clientIdentity(socket as unknown as Socket), TypeError);
  }
});

/** Whether a client enters fresh and resumed, over each version of TLS; and what the callback was told. */
async function answers(allowClient: AllowClient) {
  const asked: string[] = [];
  const state = new TlsState(configOf([root], "optional"), {
    allowClient: (identity) => {
      asked.push(identity.subject);
      return allowClient(identity);
    },
  });
  const { port, errors, stop } = await start(state);
  const openssl = await OpensslClient.create(credentials(client(root)));
  const entered: boolean[] = [];
  for (const version of ["-tls1_2", "-tls1_3"]) {
    for (const resume of [false, true]) entered.push((await openssl.run(port, { resume, args: [version] })).greeted);
  }
  await openssl[Symbol.asyncDispose]();
  await stop();
  return { entered, asked, codes: errors.map(({ code }) => code) };
}

test("TlsState asks allowClient about each client with a verified certificate, in full and resumed handshakes", async () => {
  const allowed = await answers(({ subject, authorities }) => {
    return subject === "CN=client" && authorities[0] === root.parsed.fingerprint256;
  });
  assertEquals(allowed, { entered: [true, true, true, true], asked: Array(4).fill("CN=client"), codes: [] });
  const refused = await answers(() => false);
  assertEquals(refused.entered, [false, false, false, false]);
  assertEquals(new Set(refused.codes), new Set(["CLIENT_UNAUTHORIZED"]));
});

test("TlsState refuses a client if allowClient throws or does not return a boolean, and emits a warning", async () => {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => warnings.push(message);
  process.on("warning", onWarning);
  const wrong = [
    () => {
      throw new Error("a callback that throws");
    },
    () => Promise.resolve(true),
    () => Promise.reject(new Error("a callback that rejects")),
    () => 1,
    () => undefined,
  ];
  for (const allowClient of wrong) {
    const { entered } = await answers(allowClient as unknown as AllowClient);
    assertEquals(entered, [false, false, false, false]);
  }
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", onWarning);
  assertEquals(warnings.includes("a callback that throws"), true);
  assertEquals(warnings.some((message) => message.includes("'allowClient' must return a boolean: a Promise")), true);
});

test("TlsState does not ask allowClient about clients without a certificate, or of another authority", async () => {
  let count = 0;
  const allowClient = () => ++count < 0;
  const { port, stop } = await start(new TlsState(configOf([root], "optional"), { allowClient }));
  assertEquals((await visit(port)).greeting, "generation 0");
  assertEquals((await visit(port, credentials(client(ca())))).greeting, undefined);
  assertEquals(count, 0);
  await stop();
});

test("TlsState refuses unknown options and an allowClient that is not a function", () => {
  const config = configOf([root]);
  for (const options of [{ allowClients: () => true }, { allowClient: true }, 5]) {
    assertThrows(() => new TlsState(config, options as never), TypeError);
  }
});
