import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import type { JsonGeneralName } from "@peculiar/x509";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import test from "node:test";
import { inspect } from "node:util";
import { loadTlsConfig, proveTlsConfig, TlsConfig, type TlsConfigInit, TlsReloadError } from "../../mod.ts";
import { digestOf } from "../../src/config/digests.ts";
import { issue, type Issued, type IssueOptions } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { collectGarbage } from "../support/garbage.ts";
import { opensslText } from "../support/openssl.ts";
import { runtimeName } from "../support/runtimes.ts";

function issueFor(commonName: string, names: readonly string[], options: IssueOptions = {}): Promise<Issued> {
  const all: JsonGeneralName[] = names.map((value) => ({ type: /^\d/.test(value) ? "ip" : "dns", value }));
  return issue(commonName, { names: all, ...options });
}

const pem = ({ cert, key }: Issued) => ({ cert, key });
const first = await issueFor("first", ["a.test"]);
const second = await issueFor("second", ["*.b.test", "10.0.0.1"], { algorithm: "RSA" });
const third = await issueFor("third", ["*.b.test"], { algorithm: "P-384" });
const init = { certifiedKeys: [first, second, third].map(pem) };

async function write(files: TestFiles, name: string, { cert, key }: Issued): Promise<{ cert: string; key: string }> {
  return { cert: await files.write(`${name}.crt`, cert), key: await files.write(`${name}.key`, key) };
}

test("TlsConfig holds several certified keys, the first of which is the default", () => {
  const config = new TlsConfig(init);
  const leaves = config.certifiedKeys.map(({ leaf }) => leaf.fingerprint256);
  assertEquals(leaves, [first, second, third].map(({ fingerprint256 }) => fingerprint256));
  assertEquals(config.leaf.fingerprint256, first.fingerprint256);
  assertEquals(config.unknownName, "default");
  assert(Object.isFrozen(config.certifiedKeys));
});

test("TlsConfig.certifiedKeyFor() chooses for a client that can verify all keys", () => {
  const config = new TlsConfig(init);
  const { certifiedKeys } = config;
  assertStrictEquals(config.certifiedKeyFor("A.test."), certifiedKeys[0]);
  assertStrictEquals(config.certifiedKeyFor("x.b.test"), certifiedKeys[2]);
  assertStrictEquals(config.certifiedKeyFor("10.0.0.1"), certifiedKeys[1]);
  assertStrictEquals(config.certifiedKeyFor("unknown.test"), certifiedKeys[0]);
  const strict = new TlsConfig({ ...init, unknownName: "refuse" });
  assertEquals(strict.certifiedKeyFor("unknown.test"), undefined);
  assertStrictEquals(strict.certifiedKeyFor("a.test"), certifiedKeys[0]);
});

test("TlsConfig accepts certified keys of another configuration, and parses the same input once", () => {
  const config = new TlsConfig(init);
  const other = new TlsConfig({ certifiedKeys: [config.certifiedKeys[1]!, pem(first)] });
  assertStrictEquals(other.certifiedKeys[0], config.certifiedKeys[1]);
  assertStrictEquals(other.certifiedKeys[1], config.certifiedKeys[0]);
  // Of another key with the same certificate nothing is carried over.
  assertThrows(() => new TlsConfig({ cert: first.cert, key: third.key }), TlsReloadError, "matches no certificate");
});

test("TlsConfig refuses invalid options", () => {
  const cases: readonly [init: unknown, message: string][] = [
    [{ certifiedKeys: [] }, "'certifiedKeys' must be a list of at least one certified key"],
    [{ certifiedKeys: pem(first) }, "'certifiedKeys' must be a list"],
    [{ certifiedKeys: [{ ...pem(first), ca: "" }] }, "Unknown option 'ca' of a certified key"],
    [{ certifiedKeys: [{ ...pem(first), passphrase: 1 }] }, "'passphrase' must be a string"],
    [{ ...init, ...pem(first) }, "Unknown option 'cert' of TlsConfig"],
    [{ ...init, passphrase: "x" }, "Unknown option 'passphrase' of TlsConfig"],
    [{ ...init, unknownName: "ignore" }, "'unknownName' must be default or refuse"],
    [null, "its options must be an object"],
  ];
  for (const [each, message] of cases) assertThrows(() => new TlsConfig(each as TlsConfigInit), TypeError, message);
});

test("TlsConfig names the certified key that is wrong", async () => {
  await withFiles(async (files) => {
    const good = await write(files, "good", first);
    const bad = await write(files, "bad", { ...second, key: third.key });
    const error = await assertRejects(() => loadTlsConfig([good, bad]), TlsReloadError);
    assertEquals([error.code, error.path], ["KEY_MISMATCH", bad.cert]);
  });
});

test("a configuration of several certified keys shows no byte of a key", () => {
  const config = new TlsConfig(init);
  const secret = (issued: Issued) => issued.key.split("\n")[2]!;
  for (
    const text of [
      inspect(config, { depth: 9, showHidden: true }),
      JSON.stringify(config),
      inspect(config.certifiedKeys),
    ]
  ) {
    for (const issued of [first, second, third]) assert(!text.includes(secret(issued)));
  }
});

test("digestOf() differs if only some clients are served differently", () => {
  const digest = (init: TlsConfigInit) => digestOf(new TlsConfig(init));
  const [a, b, c] = init.certifiedKeys;
  const digests = [
    digest(init),
    digest({ certifiedKeys: [a!, c!, b!] }),
    digest({ certifiedKeys: [a!, b!] }),
    digest({ ...init, unknownName: "refuse" }),
    digest({ ...init, minVersion: "TLSv1.3" }),
    digest(a!),
  ];
  assertEquals(new Set(digests).size, digests.length);
  assertEquals(digest({ certifiedKeys: [a!] }), digest(a!));
});

test("loadTlsConfig() reads several certified keys, and keeps unchanged ones", async () => {
  await withFiles(async (files) => {
    const paths = [
      await write(files, "first", first),
      await write(files, "second", second),
      { cert: await files.write("both.pem", third.cert + third.key), key: files.path("both.pem") },
    ];
    const config = await loadTlsConfig(paths, { alpnProtocols: ["h2"], unknownName: "refuse" });
    assertEquals(config.certifiedKeys.map(({ path }) => path), paths.map(({ cert }) => cert));
    assertEquals([config.alpnProtocols, config.unknownName], [["h2"], "refuse"]);

    const renewed = await issueFor("renewed", ["*.b.test"], { algorithm: "RSA" });
    await write(files, "second", renewed);
    const next = await loadTlsConfig(paths);
    assertStrictEquals(next.certifiedKeys[0], config.certifiedKeys[0]);
    assertEquals(next.certifiedKeys[1]!.leaf.fingerprint256, renewed.fingerprint256);
    assertStrictEquals(next.certifiedKeys[2], config.certifiedKeys[2]);
    const [, kept] = config.certifiedKeys;
    assertStrictEquals((await loadTlsConfig([paths[0]!, kept!])).certifiedKeys[1], kept);
  });
});

test("loadTlsConfig() refuses invalid arguments", async () => {
  const cases: readonly [args: unknown[], message: string][] = [
    [[[]], "at least one certified key"],
    [[[{ cert: "a.crt" }]], "'key' must be a path"],
    [[[{ cert: "a.crt", key: "a.key", ca: "x" }]], "Unknown option 'ca' of loadTlsConfig"],
    [[[first]], "Unknown option"],
    [[[{ cert: "a.crt", key: "a.key" }], { passphrase: "x" }], "Unknown option 'passphrase' of loadTlsConfig"],
    [[[{ cert: "a.crt", key: "a.key" }], "a.key"], "its options must be an object"],
  ];
  for (const [args, message] of cases) {
    await assertRejects(() => Reflect.apply(loadTlsConfig, undefined, args), TypeError, message);
  }
});

test("proveTlsConfig() proves each certified key, even without a handshake", async () => {
  // The first of a kind makes a handshake, the second signs.
  const fourth = await issueFor("fourth", ["d.test"]);
  await proveTlsConfig(new TlsConfig({ certifiedKeys: [...init.certifiedKeys, pem(fourth)] }));

  const short = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const key = String(short.privateKey.export({ type: "pkcs8", format: "pem" }));
  const cert = opensslText("req -x509 -key FILE -subj /CN=short -days 1 -addext subjectAltName=DNS:s.test", key);
  assertEquals(new X509Certificate(cert).subject, "CN=short");
  const config = new TlsConfig({ certifiedKeys: [...init.certifiedKeys, { cert, key }] });
  // What the runtime takes as the only key, it takes beside others: Bun and Node 22 take RSA keys of any length.
  const takesShortKeys = await Promise.resolve().then(() => proveTlsConfig(new TlsConfig({ cert, key }))).then(
    () => true,
    () => false,
  );
  assertEquals(takesShortKeys, /^(bun|node 22)/.test(runtimeName()));
  if (takesShortKeys) return await proveTlsConfig(config);
  const error = await assertRejects(
    () => proveTlsConfig(config),
    TlsReloadError,
    "no handshake succeeds with CN=short",
  );
  assertEquals(error.code, "CONFIG_UNUSABLE");
});

test("proveTlsConfig() proves certified keys whose objects of the runtime have been collected", async () => {
  const config = new TlsConfig({ certifiedKeys: [first, await issueFor("other", ["o.test"])].map(pem) });
  const { leaf } = config.certifiedKeys[1]!;
  const { publicKey } = leaf.x509;
  await collectGarbage();
  await proveTlsConfig(config);
  assert(leaf.x509.publicKey.equals(publicKey));
});
