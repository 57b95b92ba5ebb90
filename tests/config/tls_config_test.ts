import { assert, assertEquals, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { duplexPair } from "node:stream";
import test from "node:test";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { inspect } from "node:util";
import {
  parseCertificates,
  proveTlsConfig,
  TlsConfig,
  type TlsConfigInit,
  TlsReloadError,
  TlsState,
} from "../../mod.ts";
import { secureContext } from "../../src/config/tls_config.ts";
import { issueCa, type Issued, issueServer } from "../support/certificates.ts";
import { opensslText } from "../support/openssl.ts";
import { chainSeenByOpenssl, configOf } from "../support/peers.ts";
import { assertRefused } from "../support/refusals.ts";
import {
  assertHidesSecrets,
  assertListsNoSecret,
  assertPrintsNoSecret,
  secret,
  secretKey,
} from "../support/secrets.ts";

/** A chain of three, and the certificates of it one by one, the leaf first. */
async function issueChain(): Promise<Issued & { readonly fingerprints: string[] }> {
  const root = await issueCa("root");
  const intermediate = await issueCa("intermediate", { issuer: root });
  const leaf = await issueServer("leaf", { issuer: intermediate });
  secretKey(leaf.key);
  const fingerprints = [leaf, intermediate, root].map(({ fingerprint256 }) => fingerprint256);
  return { ...leaf, cert: leaf.cert + root.cert, fingerprints };
}

/** The chain that a client receives in a handshake over memory. */
async function servedChain(config: TlsConfig): Promise<string[]> {
  const [near, far] = duplexPair();
  const accepted = new TlsState(config).acceptor().accept(near);
  const client = connect({ socket: far, rejectUnauthorized: false });
  await Promise.all([accepted, once(client, "secureConnect")]);
  const served: string[] = [];
  let certificate: DetailedPeerCertificate | undefined = client.getPeerCertificate(true);
  while (certificate && !served.includes(certificate.fingerprint256)) {
    served.push(certificate.fingerprint256);
    certificate = certificate.issuerCertificate;
  }
  client.destroy();
  (await accepted).destroy();
  near.destroy();
  return served;
}

/** Files as they are found, all of them harmless, which the runtimes' own readers refuse or read in part. */
const MESSY: Record<string, (pem: string) => string> = {
  "as it was issued": (pem) => pem,
  "mixed line ends": (pem) => pem.replace(/\n/g, (_, at) => ["\n", "\r\n", "\r"][at % 3]!),
  "a byte order mark": (pem) => `\ufeff${pem}`,
  "a byte order mark before each section": (pem) => pem.replaceAll("-----BEGIN", "\ufeff-----BEGIN"),
  "tabs at line ends": (pem) => pem.replaceAll("\n", "\t\n"),
  "spaces within base64": (pem) => pem.replace(/^[^-]{10}/gm, "$& "),
  "one line for each body": (pem) => pem.replace(/(?<=[\w+/=])\n(?=[\w+/=])/g, ""),
  "Bag Attributes": (pem) => pem.replaceAll("-----BEGIN", "Bag Attributes\n    friendlyName: x\n-----BEGIN"),
  "no last newline": (pem) => pem.trimEnd(),
};

for (const [what, mess] of Object.entries(MESSY)) {
  test(`TlsConfig serves the whole chain and its key from files with ${what}`, async () => {
    const { cert, key, fingerprints } = await issueChain();
    const config = new TlsConfig({ cert: mess(cert), key: Buffer.from(mess(key)) });
    assertEquals(await servedChain(config), fingerprints);
  });
}

test("TlsConfig serves the whole chain to openssl s_client", async () => {
  const { cert, key, fingerprints } = await issueChain();
  const mess = MESSY["mixed line ends"]!;
  const config = new TlsConfig({ cert: `\ufeff${mess(cert)}`, key: mess(key) });
  assertEquals(await chainSeenByOpenssl(config), fingerprints);
});

const ALGORITHMS = ["RSA", "P-256", "P-384", "Ed25519"] as const;

for (const algorithm of ALGORITHMS) {
  test(`TlsConfig serves a certificate with ${algorithm}`, async () => {
    const { cert, key, fingerprint256 } = await issueServer("serving", { algorithm });
    assertEquals(await servedChain(new TlsConfig({ cert, key })), [fingerprint256]);
  });
}

const KEYS = {
  "P-521": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
  "P-256 in SEC1 after EC PARAMETERS": "ecparam -name prime256v1 -genkey",
  "RSA in PKCS#1": "genrsa -traditional 2048",
};

for (const [what, command] of Object.entries(KEYS)) {
  test(`TlsConfig serves with ${what}, plain and encrypted`, async () => {
    const passphrase = secret("correct-horse-battery-staple");
    const plain = opensslText(command);
    const encrypted = opensslText(`pkcs8 -topk8 -in FILE -passout pass:${passphrase}`, plain);
    const cert = opensslText("req -x509 -new -key FILE -subj /CN=x -days 1", plain);
    const [{ fingerprint256 }] = parseCertificates(cert) as [TlsConfig["leaf"]];
    assertEquals(await servedChain(new TlsConfig({ cert, key: plain })), [fingerprint256]);
    assertEquals(await servedChain(new TlsConfig({ cert, key: encrypted, passphrase })), [fingerprint256]);
  });
}

test("TlsConfig reads certificate and key from one text", async () => {
  const { cert, key, fingerprints } = await issueChain();
  for (const both of [cert + key, key + cert]) {
    assertEquals(await servedChain(new TlsConfig({ cert: both, key: both })), fingerprints);
  }
});

test("TlsConfig has digests that hold no key and are the same for the same content", async () => {
  const [ca, one, other] = await Promise.all([issueCa("digest ca"), issueServer("digest"), issueServer("digest")]);
  const config = configOf(one, { clientAuth: { mode: "required", ca: ca.cert } });
  const same = configOf(one, { clientAuth: { mode: "required", ca: ca.cert } });
  const renewed = configOf(other, { clientAuth: { mode: "required", ca: ca.cert } });
  assertMatch(config.configDigest, /^[0-9a-f]{64}$/);
  assertEquals([same.configDigest, same.trustDigest], [config.configDigest, config.trustDigest]);
  assert(renewed.configDigest !== config.configDigest);
  assertEquals(renewed.trustDigest, config.trustDigest);
  assert(configOf(one).trustDigest !== config.trustDigest);
});

test("TlsConfig.toJSON() returns the public facts", async () => {
  const { cert, key, fingerprints } = await issueChain();
  const ca = await issueCa("clients");
  const clientAuth = { ca: ca.cert, mode: "optional" } as const;
  const config = new TlsConfig({ cert, key, alpnProtocols: ["h2", "http/1.1"], minVersion: "TLSv1.3", clientAuth });
  const facts = config.toJSON();
  assertEquals(facts, {
    chain: parseCertificates(cert).map((certificate) => certificate.toJSON()),
    alpnProtocols: ["h2", "http/1.1"],
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    clientAuth: { mode: "optional", ca: parseCertificates(ca.cert).map((certificate) => certificate.toJSON()) },
  });
  assertEquals(JSON.parse(JSON.stringify(config)), JSON.parse(JSON.stringify(facts)));
  assertStrictEquals(config.leaf, config.chain[0]);
  const shown = inspect(config, { depth: 5 });
  for (const fact of [...fingerprints, ca.fingerprint256, "CN=leaf", "h2", "TLSv1.3", "optional"]) {
    assert(shown.includes(fact), `${fact} is missing in: ${shown}`);
  }
});

test("TlsConfig speaks TLS 1.2 and offers nothing more by default", async () => {
  const config = configOf(await issueServer("plain"));
  const { alpnProtocols, minVersion, maxVersion, clientAuth, ...rest } = config.toJSON();
  assertEquals([alpnProtocols, minVersion, maxVersion, clientAuth], [[], "TLSv1.2", "TLSv1.3", undefined]);
  assertEquals(Object.keys(rest), ["chain"]);
});

test("TlsConfig cannot be changed", async () => {
  const { cert, key } = await issueChain();
  const alpnProtocols = ["h2"];
  const clientAuth = { ca: (await issueCa("clients")).cert, mode: "optional" as "optional" | "required" };
  const config = new TlsConfig({ cert, key, alpnProtocols, clientAuth });
  const before = JSON.stringify(config);
  alpnProtocols.push("http/1.1");
  clientAuth.mode = "required";
  for (const part of [config, config.chain, config.alpnProtocols, config.clientAuth, config.clientAuth?.ca]) {
    assert(Object.isFrozen(part));
  }
  config.leaf.notAfter.setTime(0);
  config.toJSON().chain[0]!.notAfter.setTime(0);
  for (const name of ["chain", "alpnProtocols", "minVersion", "clientAuth", "leaf"]) {
    assert(!Reflect.set(config, name, undefined), name);
  }
  assertEquals(JSON.stringify(config), before);
});

test("TlsConfig hides its key from all functions that print or serialise", async () => {
  const { cert, key } = await issueChain();
  const config = new TlsConfig({ cert, key, clientAuth: { ca: (await issueCa("clients")).cert, mode: "required" } });
  const state = new TlsState(config);
  for (const value of [config, [config], config.chain, config.leaf, state, state.acceptor(), secureContext(config)]) {
    assertHidesSecrets(value);
  }
});

test("TlsState.tls hides the key when it is printed, and passes it to a server", async () => {
  const { cert, key } = await issueChain();
  const { tls } = new TlsState(new TlsConfig({ cert, key }));
  for (const shown of [inspect(tls, { showHidden: true, depth: Infinity }), JSON.stringify(tls)]) {
    assert(shown.includes("[private key]"));
    assertHidesSecrets(shown);
  }
  assertEquals(opensslText("pkey -in FILE", String(tls.key)), opensslText("pkey -in FILE", key));
});

test("TlsConfig says which certificate the key belongs to, if it is not the first", async () => {
  const { cert, key } = await issueChain();
  const [leaf, intermediate, root] = parseCertificates(cert).map(({ pem }) => pem) as [string, string, string];
  const message = /^Cannot use TLS config: the private key matches certificate (2|3), but the leaf must come first$/;
  for (const [wrong, number] of [[intermediate + leaf + root, "2"], [root + intermediate + leaf, "3"]] as const) {
    const error = await assertRefused(() => new TlsConfig({ cert: wrong, key }), "KEY_MISMATCH", { message });
    assertEquals(message.exec(error.message)?.[1], number);
  }
});

test("TlsConfig names both files of a key that belongs to no certificate", async () => {
  const { cert } = await issueChain();
  const { key } = await issueServer("other");
  secretKey(key);
  const file = (path: string, text: string) => ({ path, bytes: Buffer.from(text) });
  await assertRefused(() => new TlsConfig({ cert: file("a.pem", cert), key: file("a.key", key) }), "KEY_MISMATCH", {
    path: "a.pem",
    message: /^Cannot use TLS config in "a\.pem": the private key in "a\.key" matches no certificate of the chain$/,
  });
});

for (const ofCertificate of ALGORITHMS) {
  test(`TlsConfig refuses a key of any other kind for a certificate with ${ofCertificate}`, async () => {
    const { cert } = await issueServer("certificate", { algorithm: ofCertificate });
    for (const algorithm of ALGORITHMS) {
      const { key } = await issueServer("key", { algorithm });
      secretKey(key);
      await assertRefused(() => new TlsConfig({ cert, key }), "KEY_MISMATCH", { message: /matches no certificate/ });
    }
  });
}

test("TlsConfig passes on the errors of its parts, each with its path", async () => {
  const { cert, key } = await issueServer("parts");
  const file = (path: string, text: string) => ({ path, bytes: Buffer.from(text) });
  const encrypted = opensslText("pkcs8 -topk8 -in FILE -passout pass:correct-horse-battery-staple", key);
  const broken = cert.replace(/-----END.*/, "");
  const noX509 = "-----BEGIN CERTIFICATE-----\nAwMD\n-----END CERTIFICATE-----";
  const init = (init: Partial<TlsConfigInit>) => () => new TlsConfig({ cert, key, ...init });
  const clientAuth = (pem: string) => ({ clientAuth: { ca: file("ca.pem", pem), mode: "required" } } as const);

  await assertRefused(init({ cert: file("c.pem", broken) }), "PEM_INVALID", { path: "c.pem", line: 1 });
  await assertRefused(init({ key: file("k.pem", broken) }), "PEM_INVALID", { path: "k.pem", line: 1 });
  await assertRefused(init({ cert: file("c.pem", key) }), "NO_CERTIFICATE", { path: "c.pem" });
  await assertRefused(init({ cert: file("c.pem", noX509) }), "CERTIFICATE_INVALID", { path: "c.pem", line: 1 });
  await assertRefused(init({ key: file("k.pem", cert) }), "NO_PRIVATE_KEY", { path: "k.pem" });
  await assertRefused(init({ key: file("k.pem", key + key) }), "MULTIPLE_PRIVATE_KEYS", { path: "k.pem", line: 1 });
  await assertRefused(init({ key: file("k.pem", encrypted) }), "KEY_ENCRYPTED", { path: "k.pem", line: 1 });
  await assertRefused(init({ key: file("k.pem", encrypted), passphrase: "wrong" }), "PASSPHRASE_WRONG", {
    path: "k.pem",
    line: 1,
  });
  await assertRefused(init(clientAuth(broken)), "PEM_INVALID", { path: "ca.pem", line: 1 });
  await assertRefused(init(clientAuth(key)), "NO_CERTIFICATE", { path: "ca.pem" });
  await assertRefused(init(clientAuth(noX509)), "CERTIFICATE_INVALID", { path: "ca.pem", line: 1 });
});

const BAD_OPTIONS: Record<string, readonly [options: object, message: RegExp]> = {
  "TLS 1.1": [{ minVersion: "TLSv1.1" }, /'minVersion' must be TLSv1\.2 or TLSv1\.3: TLSv1\.1$/],
  "a version that is a number": [{ minVersion: 1.3 }, /'minVersion' must be TLSv1\.2 or TLSv1\.3: 1\.3$/],
  "an unknown mode": [
    { clientAuth: { ca: "", mode: "maybe" } },
    /'clientAuth.mode' must be required or optional: maybe$/,
  ],
  "no mode": [{ clientAuth: { ca: "" } }, /'clientAuth.mode' must be required or optional: undefined$/],
  "a protocol without a name": [
    { alpnProtocols: ["h2", ""] },
    /'alpnProtocols' must be a list of names of 1 to 255 printable characters: a string$/,
  ],
  "a protocol with a space": [
    { alpnProtocols: ["h 2"] },
    /must be a list of names of 1 to 255 printable characters: a string$/,
  ],
  "a protocol with a newline": [
    { alpnProtocols: ["h2\n"] },
    /must be a list of names of 1 to 255 printable characters: a string$/,
  ],
  "a protocol of 256 bytes": [
    { alpnProtocols: ["x".repeat(256)] },
    /must be a list of names of 1 to 255 printable characters: a string$/,
  ],
  "too many protocols": [{ alpnProtocols: Array(300).fill("x".repeat(255)) }, /must fit into 65535 bytes: 76800$/],
  "protocols that are no list": [{ alpnProtocols: "h2" }, /'alpnProtocols' must be a list of names: a string$/],
};

for (const [what, [options, message]] of Object.entries(BAD_OPTIONS)) {
  test(`TlsConfig refuses ${what}`, async () => {
    const issued = await issueServer("options");
    const error = assertThrows(() => configOf(issued, options), TypeError);
    assertMatch(error.message, /^Cannot use TLS config: /);
    assertMatch(error.message, message);
  });
}

test("TlsConfig negotiates the longest protocol name", async () => {
  const name = "x".repeat(255);
  const config = configOf(await issueServer("alpn"), { alpnProtocols: ["h2", name] });
  const [near, far] = duplexPair();
  const accepted = new TlsState(config).acceptor().accept(near);
  const client = connect({ socket: far, rejectUnauthorized: false, ALPNProtocols: [name] });
  await Promise.all([accepted, once(client, "secureConnect")]);
  assertEquals([client.alpnProtocol, (await accepted).alpnProtocol], [name, name]);
  client.destroy();
  (await accepted).destroy();
  near.destroy();
});

/** Keys that some runtimes serve with and others refuse, each at another moment. */
const WEAK = { "RSA 1024": 1024, "RSA 512": 512 };

for (const [what, bits] of Object.entries(WEAK)) {
  test(`TlsConfig or proveTlsConfig() refuses ${what}, unless it can serve`, async () => {
    const key = secretKey(opensslText(`genrsa ${bits}`));
    const cert = opensslText("req -x509 -new -key FILE -subj /CN=x -days 1", key);
    let config: TlsConfig;
    try {
      config = new TlsConfig({ cert, key });
      await proveTlsConfig(config);
    } catch (error) {
      assert(error instanceof TlsReloadError);
      assertEquals(error.code, bits < 1024 ? "KEY_UNSUPPORTED" : "CONFIG_UNUSABLE");
      assertHidesSecrets(error);
      return;
    }
    assertEquals(await servedChain(config), [config.leaf.fingerprint256]);
  });
}

test("TlsConfig accepts an expired certificate and one that is not yet valid", async () => {
  const DAY_MS = 86_400_000;
  const [past, future] = [new Date(Date.now() - DAY_MS), new Date(Date.now() + DAY_MS)];
  const expired = await issueServer("expired", { notBefore: new Date(past.getTime() - DAY_MS), notAfter: past });
  const early = await issueServer("early", { notBefore: future, notAfter: new Date(future.getTime() + DAY_MS) });
  for (const issued of [expired, early]) {
    const config = configOf(issued);
    assert(!config.leaf.isValidAt());
    assertEquals(await servedChain(config), [issued.fingerprint256]);
  }
});

test("an accepted socket hides the key of its server, also from console.dir()", async () => {
  // A key so short that lists which are cut off hold it all.
  const { cert, key } = await issueServer("small", { algorithm: "Ed25519" });
  secretKey(key);
  const [near, far] = duplexPair();
  const accepted = new TlsState(new TlsConfig({ cert, key })).acceptor().accept(near);
  const client = connect({ socket: far, rejectUnauthorized: false });
  const secure = await accepted;
  assertPrintsNoSecret(secure);
  assertListsNoSecret(secure);
  secure.destroy();
  client.destroy();
  near.destroy();
});
