import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import test from "node:test";
import { type Certificate, parseCertificates } from "../../mod.ts";
import { readPublicKey, readSignatureAlgorithm } from "../../src/x509/algorithms.ts";
import { readStructure } from "../../src/x509/certificate_structure.ts";
import { encodeDer } from "../../src/x509/der.ts";
import { CertificateExtensions, ExtensionId } from "../../src/x509/certificate_extensions.ts";
import { openssl, opensslText } from "../support/openssl.ts";

/** A self-signed certificate by openssl with these extensions. */
function certificate(
  extensions: string,
  key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
  options = "",
): Certificate {
  const config = `
    [req]
    distinguished_name = name
    [name]
    [directory]
    O = Example
    CN = names
    [extensions]
    ${extensions.trim().split("\n").map((line) => line.trim()).join("\n    ")}`;
  const command = `req -x509 ${key} -nodes -subj /CN=test -config CONFIG -extensions extensions ${options}`;
  const pem = opensslText(`${command} -keyout /dev/null -out FILE.pem`, "", config);
  return parseCertificates(pem)[0]!;
}

/** The extensions of a certificate. */
function extensionsOf({ x509 }: Certificate): CertificateExtensions {
  return new CertificateExtensions(readStructure(x509.raw));
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("CertificateExtensions reads all extensions that OpenSSL writes", () => {
  const made = certificate(`
    basicConstraints = critical,CA:TRUE,pathlen:3
    keyUsage = critical,keyCertSign,cRLSign,digitalSignature,decipherOnly
    extendedKeyUsage = clientAuth,1.2.3.4
    subjectKeyIdentifier = 00:01:FF
    authorityKeyIdentifier = keyid:always,issuer:always
    nameConstraints = critical,permitted;DNS:example.com,permitted;IP:10.0.0.0/255.0.0.0,excluded;email:.example.org
    subjectAltName = DNS:a.test,email:a@b.test,URI:spiffe://a/b,IP:::1,IP:10.1.2.3,RID:1.2.3,dirName:directory,otherName:1.2.3;UTF8:x
    1.2.3.4 = critical,DER:0500
    1.2.3.5 = DER:0500`);
  const extensions = extensionsOf(made);
  assertEquals(extensions.basicConstraints, { isCa: true, maxPathLength: 3 });
  assertEquals([...extensions.keyUsage!], ["digitalSignature", "keyCertSign", "cRLSign", "decipherOnly"]);
  assertEquals(extensions.extendedKeyUsage, ["1.3.6.1.5.5.7.3.2", "1.2.3.4"]);
  assertEquals(extensions.subjectKeyIdentifier, "0001FF");
  const { keyIdentifier, issuer, serialNumber } = extensions.authorityKeyIdentifier!;
  assertEquals([keyIdentifier, BigInt(`0x${serialNumber}`)], ["0001FF", BigInt(`0x${made.serialNumber}`)]);
  assertEquals(issuer!.map((name) => [name.kind, "value" in name && name.value]), [["directory", "CN=test"]]);
  const { permitted, excluded } = extensions.nameConstraints!;
  assertEquals(permitted.map((name) => name.kind === "ip" ? hex(name.bytes) : "value" in name && name.value), [
    "example.com",
    "0a000000ff000000",
  ]);
  assertEquals(excluded, [{ kind: "email", value: ".example.org" }]);
  assertEquals(extensions.subjectAltNames!.map((name) => [name.kind, "value" in name ? name.value : name.tag]), [
    ["dns", "a.test"],
    ["email", "a@b.test"],
    ["uri", "spiffe://a/b"],
    ["ip", "::1"],
    ["ip", "10.1.2.3"],
    ["other", 0x88],
    ["directory", "CN=names,O=Example"],
    ["other", 0xa0],
  ]);
  assertEquals(extensions.list.filter(({ isCritical }) => isCritical).map(({ id }) => id), [
    ExtensionId.basicConstraints,
    ExtensionId.keyUsage,
    ExtensionId.nameConstraints,
    "1.2.3.4",
  ]);
  assertEquals([extensions.isCritical("nameConstraints"), extensions.isCritical("extKeyUsage")], [true, false]);
  assertStrictEquals(extensions.keyUsage, extensions.keyUsage);
});

test("CertificateExtensions distinguishes an absent extension from an empty one", () => {
  const none = extensionsOf(certificate("1.2.3.5 = DER:0500"));
  assertEquals(none.basicConstraints, undefined);
  assertEquals(none.keyUsage, undefined);
  assertEquals(none.nameConstraints, undefined);
  assertEquals(none.subjectAltNames, undefined);
  const empty = extensionsOf(
    certificate("basicConstraints = CA:FALSE\nkeyUsage = DER:030100\nsubjectAltName = DER:3000"),
  );
  assertEquals(empty.basicConstraints, { isCa: false, maxPathLength: undefined });
  assertEquals(empty.keyUsage, new Set());
  assertEquals(empty.subjectAltNames, []);
});

/** Extensions of a certificate that holds just these, each as identifier and value in hexadecimal. */
function extensionsFrom(...list: readonly (readonly [oid: string, value: string])[]): CertificateExtensions {
  const extensions = list.map(([oid, value]) => {
    const content = [encodeDer(0x06, Buffer.from(oid, "hex")), encodeDer(0x04, Buffer.from(value, "hex"))];
    const encoded = encodeDer(0x30, Buffer.concat(content));
    return { tag: 0x30, content: Buffer.concat(content), encoded };
  });
  return new CertificateExtensions({ extensions });
}

const BROKEN = {
  basicConstraints: ["551d13", ["", "0500", "30030201ff", "3000" + "00", "30060101ff010100"]],
  keyUsage: ["551d0f", ["", "0500"]],
  extendedKeyUsage: ["551d25", ["", "3000", "30020500"]],
  subjectKeyIdentifier: ["551d0e", ["", "0500", "3000"]],
  authorityKeyIdentifier: ["551d23", ["", "0500", "3005a103890100"]],
  nameConstraints: ["551d1e", ["", "3000", "3002a000", "3002a200", "3007a00530038901ff", "300aa008300682016181010130"]],
  subjectAltNames: ["551d11", ["", "0500", "3003890100", "3002a400"]],
} as const;

for (const [name, [oid, values]] of Object.entries(BROKEN)) {
  test(`CertificateExtensions throws a RangeError where ${name} is broken, each time it is asked`, () => {
    for (const value of values) {
      const extensions = extensionsFrom([oid, value]);
      for (let time = 0; time < 2; time++) {
        assertThrows(() => extensions[name as keyof typeof BROKEN], RangeError);
      }
    }
  });
}

test("CertificateExtensions refuses a repeated extension", () => {
  assertThrows(() => extensionsFrom(["551d13", "3000"], ["551d13", "30030101ff"]), RangeError);
});

test("readPublicKey() reads kind, length and curve", () => {
  for (
    const [key, expected] of [
      ["-newkey rsa:1024", { kind: "rsa", bits: 1024, curve: undefined }],
      ["-newkey rsa:2041", { kind: "rsa", bits: 2041, curve: undefined }],
      ["-newkey rsa-pss -pkeyopt rsa_keygen_bits:2048", { kind: "rsa-pss", bits: 2048, curve: undefined }],
      ["-newkey ec -pkeyopt ec_paramgen_curve:P-192", { kind: "ec", bits: 192, curve: "P-192" }],
      ["-newkey ec -pkeyopt ec_paramgen_curve:P-521", { kind: "ec", bits: 521, curve: "P-521" }],
      ["-newkey ec -pkeyopt ec_paramgen_curve:secp256k1", { kind: "ec", bits: undefined, curve: "1.3.132.0.10" }],
      ["-newkey ed25519", { kind: "ed25519", bits: undefined, curve: undefined }],
    ] as const
  ) {
    const der = derOf(key);
    assertEquals(readPublicKey(readStructure(der)), expected, key);
  }
});

test("readSignatureAlgorithm() reads scheme, digest and length of the salt", () => {
  for (
    const [key, scheme, hash, saltLength] of [
      ["-newkey rsa:2048 -sha1", "rsa", "sha1", undefined],
      ["-newkey rsa:2048 -md5", "rsa", "md5", undefined],
      ["-newkey rsa:2048 -sha384", "rsa", "sha384", undefined],
      ["-newkey rsa:2048 -sha512 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:40", "rsa-pss", "sha512", 40],
      ["-newkey rsa:2048 -sha1 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20", "rsa-pss", "sha1", 20],
      ["-newkey rsa:2048 -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha1", "rsa-pss", undefined, 222],
      ["-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha224", "ecdsa", "sha224", undefined],
      ["-newkey ed25519", "ed25519", undefined, undefined],
      ["-newkey rsa:2048 -sha3-256", undefined, undefined, undefined],
    ] as const
  ) {
    const { id: _, ...facts } = readSignatureAlgorithm(readStructure(derOf(key)).algorithm);
    assertEquals(facts, { scheme, hash, saltLength }, key);
  }
});

/** Not every runtime reads each of these keys. */
function derOf(key: string): Uint8Array {
  const config = "[req]\ndistinguished_name = name\n[name]";
  return openssl(
    `req -x509 ${key} -nodes -subj /CN=test -config CONFIG -keyout /dev/null -outform DER -out FILE.pem`,
    "",
    config,
  );
}

test("readStructure() finds version, serial number, names and the bytes that are signed", () => {
  const made = certificate("basicConstraints = CA:FALSE");
  const structure = readStructure(made.x509.raw);
  assertEquals(structure.version, 3);
  assertEquals(hex(structure.serialNumber).replace(/^00/, "").toUpperCase(), made.serialNumber);
  assertEquals(hex(structure.issuer.encoded), hex(structure.subject.encoded));
  assertEquals(hex(structure.algorithm.encoded), hex(structure.signedAlgorithm.encoded));
  assertEquals(hex(structure.publicKey.encoded), hex(made.x509.publicKey.export({ type: "spki", format: "der" })));
  assertThrows(() => readStructure(Buffer.concat([made.x509.raw, Buffer.of(0)])), RangeError);
  assertThrows(() => readStructure(encodeDer(0x30, new Uint8Array())), RangeError);
});
