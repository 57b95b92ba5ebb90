import { assertEquals, assertStrictEquals } from "@std/assert";
import test from "node:test";
import { chooseKey, type ClientAbilities } from "../../src/config/key_choice.ts";
import { type Certificate, parseCertificates } from "../../mod.ts";
import { type ClientHello, parseClientHello } from "../../src/accept/client_hello.ts";
import { type IssueOptions, issueServer } from "../support/certificates.ts";
import { captureHello, opensslClient } from "../support/client_hellos.ts";

interface Key {
  readonly name: string;
  readonly chain: readonly Certificate[];
}

async function key(name: string, options: IssueOptions): Promise<Key> {
  return { name, chain: parseCertificates((await issueServer(name, options)).cert) };
}

const expired = { notBefore: new Date(2000, 0), notAfter: new Date(2001, 0) };
const rsa = await key("RSA", { algorithm: "RSA" });
const p256 = await key("P-256", { algorithm: "P-256" });
const p384 = await key("P-384", { algorithm: "P-384" });
const ed25519 = await key("Ed25519", { algorithm: "Ed25519" });
const expiredP256 = await key("expired P-256", { ...expired });
const expiredRsa = await key("expired RSA", { algorithm: "RSA", ...expired });

async function client(...options: string[]): Promise<ClientHello> {
  return parseClientHello(await captureHello(opensslClient(...options)))!;
}

const able = await client();
const rsaOnly13 = await client("-tls1_3", "-sigalgs", "RSA-PSS+SHA256");
const ecdsaOnly13 = await client("-tls1_3", "-sigalgs", "ECDSA+SHA256");
const rsaSuites12 = await client("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256");
const ecdsaSuites12 = await client("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256");
const rsaSignatures12 = await client("-tls1_2", "-sigalgs", "RSA+SHA256");
const p256Group12 = await client("-tls1_2", "-groups", "P-256");

const chosen = (keys: readonly Key[], client: ClientAbilities, maxVersion?: string) =>
  chooseKey(keys, client, maxVersion).name;

test("chooseKey() prefers ECDSA, then Ed25519, in any order of the keys", () => {
  for (const keys of [[rsa, p256, ed25519], [ed25519, p256, rsa], [p256, rsa]]) {
    assertEquals(chosen(keys, able), "P-256");
  }
  assertEquals(chosen([rsa, ed25519], able), "Ed25519");
  assertEquals(chosen([p384, p256], able), "P-384");
  assertEquals(chosen([p256, p384], able), "P-256");
});

test("chooseKey() chooses by the signature algorithms that a client of TLS 1.3 can verify", () => {
  assertEquals(chosen([p256, rsa], rsaOnly13), "RSA");
  assertEquals(chosen([rsa, p256], ecdsaOnly13), "P-256");
  // In TLS 1.3 the signature algorithm names the curve.
  assertEquals(chosen([p384, rsa, p256], ecdsaOnly13), "P-256");
  assertEquals(chosen([p256, ed25519, rsa], rsaOnly13), "RSA");
});

test("chooseKey() chooses by cipher suites, signature algorithms and groups for a client of TLS 1.2", () => {
  assertEquals(chosen([p256, rsa], rsaSuites12), "RSA");
  assertEquals(chosen([rsa, p256], ecdsaSuites12), "P-256");
  assertEquals(chosen([p256, rsa], rsaSignatures12), "RSA");
  assertEquals(chosen([p384, p256], p256Group12), "P-256");
  const silent = { ...rsaSuites12, signatureAlgorithms: [], supportedGroups: [] };
  assertEquals(chosen([p256, rsa], silent), "RSA");
  assertEquals(chosen([rsa, p384], { ...silent, cipherSuites: [0xc02b] }), "P-384");
});

test("chooseKey() treats a client of TLS 1.3 as one of TLS 1.2 if the server supports only TLS 1.2", () => {
  const mixed = { ...able, signatureAlgorithms: [0x0403, 0x0804], cipherSuites: [0x1301, 0xc02f] };
  assertEquals(chosen([rsa, p256], mixed), "P-256");
  assertEquals(chosen([rsa, p256], mixed, "TLSv1.2"), "RSA");
});

test("chooseKey() prefers a key that is valid, but only among those that the client can verify", () => {
  assertEquals(chosen([expiredP256, rsa], able), "RSA");
  assertEquals(chosen([expiredP256, rsa], ecdsaOnly13), "expired P-256");
  assertEquals(chosen([expiredRsa, expiredP256], able), "expired P-256");
  const then = new Date(2000, 6);
  assertStrictEquals(chooseKey([rsa, expiredRsa], able, "TLSv1.3", then), expiredRsa);
});

test("chooseKey() returns a key even for a client that cannot verify any", () => {
  assertEquals(chosen([p256, p384], rsaOnly13), "P-256");
});
