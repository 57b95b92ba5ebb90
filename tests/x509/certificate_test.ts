import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { sign, X509Certificate } from "node:crypto";
import test from "node:test";
import { inspect } from "node:util";
import { Certificate, encodePem, parseCertificates, parsePem, parsePrivateKey, TlsReloadError } from "../../mod.ts";
import { DerTag, type DerValue, encodeDer, readChildren, readDerValue } from "../../src/x509/der.ts";
import { issue, issueCa, issueServer } from "../support/certificates.ts";
import { openssl, opensslText } from "../support/openssl.ts";
import { assertRefused } from "../support/refusals.ts";
import { secretKey } from "../support/secrets.ts";

interface OpensslOptions {
  /** Its section of extensions. */
  readonly extensions?: string;
  /** Which types it may choose among for a string. */
  readonly stringMask?: number;
}

/** A certificate made by OpenSSL, which knows more forms than the helpers of the other tests. */
function issueByOpenssl(args: readonly string[], options: OpensslOptions = {}): string {
  const { extensions = "", stringMask = 0x2906 } = options;
  const key = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256");
  const config = `[req]\ndistinguished_name = name\nstring_mask = MASK:${stringMask}\n[name]\n[x]\n${extensions}\n`;
  const command = "req -x509 -new -utf8 -days 1 -key FILE -config CONFIG -extensions x".split(" ");
  return opensslText([...command, ...args], key, config);
}

/** The facts of a certificate by `openssl x509`. */
function opensslFacts(pem: string) {
  const options = "-subject -issuer -serial -startdate -enddate -fingerprint -sha256 -nameopt RFC2253,-esc_msb,utf8";
  const output = opensslText(`x509 -in FILE -noout ${options}`, pem);
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, "mi").exec(output)?.[1] ?? `no ${name} in ${output}`;
  return {
    subject: value("subject"),
    issuer: value("issuer"),
    serialNumber: value("serial"),
    notBefore: new Date(value("notBefore")),
    notAfter: new Date(value("notAfter")),
    fingerprint256: value("sha256 fingerprint"),
  };
}

function parseOne(pem: string): Certificate {
  const [certificate, ...rest] = parseCertificates(pem);
  assertEquals(rest, []);
  return certificate!;
}

function derOf(pem: string): Uint8Array {
  return parsePem(pem)[0]!.der;
}

for (const algorithm of ["P-256", "P-384", "RSA", "Ed25519"] as const) {
  test(`parseCertificates() reads the facts of a certificate with ${algorithm}, as openssl x509 does`, async () => {
    const ca = await issueCa("authority", { algorithm });
    const issued = await issueServer("facts", { algorithm, issuer: ca });
    const { dnsNames, ipAddresses, ...facts } = parseOne(issued.cert).toJSON();
    assertEquals(facts, opensslFacts(issued.cert));
    assertEquals([facts.subject, facts.issuer], ["CN=facts", "CN=authority"]);
    assertEquals(facts.fingerprint256, issued.fingerprint256);
    assertEquals([dnsNames, ipAddresses], [["localhost"], ["127.0.0.1"]]);
  });
}

const SUBJECTS = {
  "several attributes": ["-subj", "/C=CH/ST=Zürich/L=Zürich/O=Example/OU=a/OU=b/CN=www.example.test"],
  "several values in one": ["-multivalue-rdn", "-subj", "/C=CH/OU=a+OU=b+O=c/CN=www.example.test"],
  "what must be escaped": ["-subj", `/O= #"Example", Inc. <a\\+b>; c\\\\d = e /CN=#x`],
  "control characters": ["-subj", "/CN=line\nbreak\x1b[31mred\x7f"],
  "other alphabets": ["-subj", "/O=株式会社例/CN=пример.test"],
  "mail, domain and user": ["-subj", "/DC=test/DC=example/UID=u/serialNumber=1/emailAddress=a@example.test"],
  "an attribute without a name": ["-subj", "/1.2.3.4.5=x/2.999.1=y/CN=x"],
  "nothing": ["-subj", "/"],
  "the largest serial number": ["-subj", "/CN=x", "-set_serial", `0x7f${"ff".repeat(19)}`],
  "a serial number whose first bit is set": ["-subj", "/CN=x", "-set_serial", "0xff"],
  "a serial number of one digit": ["-subj", "/CN=x", "-set_serial", "5"],
  "serial number zero": ["-subj", "/CN=x", "-set_serial", "0"],
  "a negative serial number": ["-subj", "/CN=x", "-set_serial", "-300"],
};

for (const [what, args] of Object.entries(SUBJECTS)) {
  test(`Certificate has the facts that openssl x509 prints of a certificate with ${what}`, () => {
    const pem = issueByOpenssl(args);
    const { dnsNames: _, ipAddresses: __, ...facts } = parseOne(pem).toJSON();
    assertEquals(facts, opensslFacts(pem));
  });
}

const STRINGS = { BMPString: 0x800, TeletexString: 0x4, PrintableString: 0x2, UTF8String: 0x2000 };

for (const [type, stringMask] of Object.entries(STRINGS)) {
  test(`Certificate reads a ${type}`, () => {
    const name = type === "PrintableString" ? "Zurich" : "Zürich";
    assertEquals(parseOne(issueByOpenssl(["-subj", `/CN=${name}`], { stringMask })).subject, `CN=${name}`);
  });
}

for (
  const [notBefore, notAfter] of [
    ["1950-01-01T00:00:00Z", "1999-12-31T23:59:59Z"],
    ["2000-02-29T12:00:00Z", "2049-12-31T23:59:59Z"],
    ["2026-01-02T03:04:05Z", "2050-01-01T00:00:00Z"],
    ["2050-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
  ] as const
) {
  test(`Certificate reads a validity from ${notBefore} to ${notAfter}`, async () => {
    const { cert } = await issue("dates", { notBefore: new Date(notBefore), notAfter: new Date(notAfter) });
    const certificate = parseOne(cert);
    assertEquals([certificate.notBefore, certificate.notAfter], [new Date(notBefore), new Date(notAfter)]);
    assert(!certificate.isValidAt(new Date(Date.parse(notBefore) - 1)));
    assert(certificate.isValidAt(new Date(notBefore)));
    assert(certificate.isValidAt(new Date(notAfter)));
    assert(!certificate.isValidAt(new Date(Date.parse(notAfter) + 1)));
  });
}

test("Certificate.isValidAt() takes the present moment by default", async () => {
  const HOUR_MS = 3_600_000;
  assert(parseOne((await issue("now")).cert).isValidAt());
  assert(!parseOne((await issue("past", { notAfter: new Date(Date.now() - HOUR_MS / 2) })).cert).isValidAt());
});

test("Certificate reads alternative names of all kinds without confusing them (CVE-2021-44532)", async () => {
  const dns = [
    "example.test",
    "*.example.test",
    "a.test, DNS:evil.test",
    'b.test", DNS:"evil.test',
    "c.test\0.evil",
    "\\u002c",
  ];
  const { cert } = await issue("names", {
    names: [
      ...dns.map((value) => ({ type: "dns", value } as const)),
      { type: "url", value: "https://example.test/?, DNS:evil.test" },
      { type: "email", value: "a@example.test, DNS:evil.test" },
      { type: "dn", value: "CN=x\\, DNS:evil.test" },
      { type: "id", value: "1.2.3.4" },
      { type: "ip", value: "192.0.2.1" },
      { type: "ip", value: "2001:db8:0:0:1:0:0:1" },
      { type: "ip", value: "::1" },
      { type: "ip", value: "::" },
      { type: "ip", value: "fe80:0:0:1:0:0:0:2" },
      { type: "ip", value: "0:0:0:0:0:ffff:c000:201" },
    ],
  });
  const { dnsNames, ipAddresses } = parseOne(cert);
  assertEquals(dnsNames, dns);
  assertEquals(ipAddresses, ["192.0.2.1", "2001:db8::1:0:0:1", "::1", "::", "fe80:0:0:1::2", "::ffff:c000:201"]);
});

test("Certificate reads a certificate without extensions", () => {
  const names = parseOne(issueByOpenssl(["-subj", "/CN=x"])).toJSON();
  assertEquals([names.dnsNames, names.ipAddresses], [[], []]);
});

test("Certificate reads a critical extension of names, which a certificate without a subject has", () => {
  const pem = issueByOpenssl(["-subj", "/"], {
    extensions: "subjectAltName = critical, DNS:example.test, IP:192.0.2.1",
  });
  const { subject, dnsNames, ipAddresses } = parseOne(pem);
  assertEquals([subject, dnsNames, ipAddresses], ["", ["example.test"], ["192.0.2.1"]]);
});

test("Certificate cannot be changed", async () => {
  const certificate = parseOne((await issueServer("frozen")).cert);
  const before = JSON.stringify(certificate);
  const { notAfter, ...facts } = certificate.toJSON();
  notAfter.setFullYear(2000);
  certificate.notBefore.setTime(0);
  for (const [name, value] of Object.entries({ ...facts, notAfter })) {
    assert(!Reflect.set(certificate, name, value), name);
  }
  for (const list of [certificate.dnsNames, certificate.ipAddresses]) assert(Object.isFrozen(list));
  assertEquals(JSON.stringify(certificate), before);
});

test("Certificate shows its facts when it is printed", async () => {
  const { cert, fingerprint256 } = await issueServer("printed");
  const certificate = parseOne(cert);
  for (
    const shown of [inspect(certificate), JSON.stringify(certificate), inspect({ a: [certificate] }, { depth: 9 })]
  ) {
    for (const fact of ["CN=printed", "127.0.0.1", fingerprint256, String(certificate.notAfter.getUTCFullYear())]) {
      assert(shown.includes(fact), `${fact} is missing in: ${shown}`);
    }
  }
});

test("Certificate.pem holds only the certificate", async () => {
  const { cert } = await issueServer("clean");
  const { pem } = parseOne(`Bag Attributes\n${cert.replaceAll("\n", "\r\n")}bye`);
  assertEquals(pem, opensslText("x509 -in FILE", cert));
});

async function chainOfThree(): Promise<string> {
  const root = await issueCa("root");
  const intermediate = await issueCa("intermediate", { issuer: root });
  const leaf = await issueServer("leaf", { issuer: intermediate });
  return leaf.cert + root.cert;
}

const namesOf = (pem: string) => parseCertificates(pem).map(({ subject }) => subject);
const CHAIN = ["CN=leaf", "CN=intermediate", "CN=root"];

test("parseCertificates() reads a chain in its order, and ignores sections of other kinds", async () => {
  const chain = await chainOfThree();
  const { key } = await issueServer("key");
  const request = "-----BEGIN CERTIFICATE REQUEST-----\nAwMD\n-----END CERTIFICATE REQUEST-----\n";
  const parameters = opensslText("ecparam -name prime256v1");
  assertEquals(namesOf(chain), CHAIN);
  assertEquals(namesOf(parameters + key + request + chain + key), CHAIN);
});

test("parseCertificates() loses no certificate when one character is inserted or removed anywhere", async () => {
  const chain = await chainOfThree();
  const fingerprints = (pem: string) => parseCertificates(pem).map(({ fingerprint256 }) => fingerprint256).join();
  const bodies = (pem: string) => parsePem(pem).map(({ der }) => Buffer.from(der).toString("base64")).join();
  const expected = { fingerprints: fingerprints(chain), bodies: bodies(chain) };
  for (let at = 0; at <= chain.length; at++) {
    for (const put of ["", "-", "\n", "A", "=", ":", " ", "#"]) {
      const changed = chain.slice(0, at) + put + chain.slice(put === "" ? at + 1 : at);
      try {
        if (bodies(changed) !== expected.bodies) assertEquals(fingerprints(changed), expected.fingerprints);
      } catch (error) {
        assertInstanceOf(error, TlsReloadError);
      }
    }
  }
});

test("parseCertificates() refuses a file that ends inside a certificate", async () => {
  const chain = await chainOfThree();
  for (const { index, 0: { length } } of chain.matchAll(/-----BEGIN[^]+?-----END CERTIFICATE-----/g)) {
    for (let end = index + "-----BEGIN".length; end < index + length; end++) {
      const error = assertThrows(() => parseCertificates(chain.slice(0, end)), TlsReloadError);
      // A cut within a boundary is seen there, any other where the section began.
      const at = chain.slice(0, end).match(/-----END[^\n]*$/) ? end : index;
      assertEquals([error.code, error.line], ["PEM_INVALID", chain.slice(0, at).split("\n").length]);
    }
  }
});

const notX509 = /^Cannot read certificate 2 at line (\d+): it is not an X\.509 certificate$/;

test("parseCertificates() refuses a section that is not a certificate, with its line", async () => {
  const [{ cert }, { key }] = [await issueServer("first"), await issueServer("second")];
  const der = derOf(cert);
  const line = cert.trimEnd().split("\n").length + 1;
  const bad = {
    "a private key": derOf(secretKey(key)),
    "a public key": openssl("pkey -in FILE -pubout -outform der", key),
    "a request": openssl("req -new -key FILE -subj /CN=x -outform der", key),
    "cut off": der.subarray(0, der.length - 1),
    "a byte after it": Buffer.concat([der, new Uint8Array(1)]),
    "two in one": Buffer.concat([der, der]),
    "in a sequence": Buffer.concat([Buffer.from([0x30, 0x82, der.length >> 8, der.length & 255]), der]),
    "three bytes": new Uint8Array(3),
    "one byte": new Uint8Array(1),
    "a length without an end": Buffer.from([0x30, 0x80, 0, 0]),
    "a huge length": Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
    "a longer length": Buffer.from([0x30, 0x88, 0, 0, 0, 0, 0, 0, 0, 0]),
    "text": Buffer.from("a certificate"),
  };
  for (const bytes of Object.values(bad)) {
    const text = cert + encodePem({ label: "CERTIFICATE", der: bytes });
    await assertRefused(() => parseCertificates(text), "CERTIFICATE_INVALID", { line, message: notX509 });
    await assertRefused(() => new Certificate(bytes), "CERTIFICATE_INVALID", {
      message: /: it is not an X\.509 certificate$/,
    });
  }
});

test("parseCertificates() names the file", async () => {
  const file = {
    path: "chain.pem",
    bytes: Buffer.from("-----BEGIN CERTIFICATE-----\nAwMD\n-----END CERTIFICATE-----\n"),
  };
  const message = /^Cannot read certificate 1 in "chain\.pem" at line 1: it is not an X\.509 certificate$/;
  await assertRefused(() => parseCertificates(file), "CERTIFICATE_INVALID", { path: "chain.pem", line: 1, message });
});

test("parseCertificates() names the sections of a file without a certificate", async () => {
  const { key } = await issueServer("key");
  const message = /^Cannot find a certificate in "key\.pem": it holds "PRIVATE KEY"$/;
  const file = { path: "key.pem", bytes: Buffer.from(key) };
  await assertRefused(() => parseCertificates(file), "NO_CERTIFICATE", { path: "key.pem", message });
  await assertRefused(() => parseCertificates(""), "NO_CERTIFICATE", { message: /: it holds no PEM$/ });
  const confused = { message: /: it holds no PEM but a path; loadTlsConfig\(\) reads files$/ };
  await assertRefused(() => parseCertificates("live/fullchain.pem"), "NO_CERTIFICATE", confused);
  const many = ["A", "A", "B", "C", "D", "E", "F"].map((label) => encodePem({ label, der: new Uint8Array(1) })).join(
    "",
  );
  await assertRefused(() => parseCertificates(many), "NO_CERTIFICATE", { message: /"A", "B", "C", "D", "E", …$/ });
});

/** Follows the advice of an error, and gives what comes of it. */
function converted({ message }: TlsReloadError, file: string | Uint8Array, extraArgs = ""): string {
  const [, command] = / with: openssl (.*)$/.exec(message) ?? [];
  return opensslText(command + extraArgs, file);
}

test("parseCertificates() refuses a TRUSTED CERTIFICATE, with the command that converts it", async () => {
  const { cert } = await issueServer("old");
  const trusted = opensslText("x509 -in FILE -trustout -addtrust serverAuth", cert);
  const line = cert.trimEnd().split("\n").length + 1;
  const message = /: convert "TRUSTED CERTIFICATE" with: openssl x509 /;
  const error = await assertRefused(() => parseCertificates(cert + trusted), "PEM_INVALID", { line, message });
  assertEquals(namesOf(converted(error, trusted)), ["CN=old"]);
});

test("parseCertificates() reads X509 CERTIFICATE, an old label for the same", async () => {
  const { cert } = await issueServer("old");
  const x509 = cert.replaceAll("CERTIFICATE", "X509 CERTIFICATE");
  assertEquals(namesOf(opensslText("x509 -in FILE", x509)), ["CN=old"]);
  assertEquals(namesOf(x509 + cert), ["CN=old", "CN=old"]);
});

test("parseCertificates() names PKCS#7 and CMS in PEM, with the command that converts them", async () => {
  const { cert, key } = await issueServer("old");
  const pkcs7 = opensslText("crl2pkcs7 -nocrl -certfile FILE", cert);
  const cms = opensslText("cms -sign -signer FILE -inkey FILE -in FILE -outform pem", cert + key);
  for (const [label, pem] of Object.entries({ PKCS7: pkcs7, CMS: cms })) {
    const message = new RegExp(`it holds "${label}"; convert it with: openssl `);
    const error = await assertRefused(() => parseCertificates(pem), "NO_CERTIFICATE", { message });
    assertEquals(namesOf(converted(error, pem)), ["CN=old"]);
  }
});

test("parseCertificates() refuses other labels that mean a certificate", async () => {
  const { cert } = await issueServer("odd");
  for (const label of ["X.509 CERTIFICATE", "Certificate", "certificate", "MY CERTIFICATE"]) {
    const pem = cert + cert.replaceAll("CERTIFICATE", label);
    const line = cert.trimEnd().split("\n").length + 1;
    await assertRefused(() => parseCertificates(pem), "PEM_INVALID", {
      line,
      message: /: the label must be CERTIFICATE/,
    });
  }
});

/** A certificate of version 1, which has neither a version nor extensions. */
function versionOne(): Uint8Array {
  const key = opensslText("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256");
  const request = opensslText(["req", "-new", "-key", "FILE", "-subj", "/CN=version 1"], key);
  return openssl("x509 -req -in FILE -signkey FILE -days 1 -outform der", key + request);
}

test("parseCertificates() reads a certificate in DER", async () => {
  const { cert } = await issueServer("der");
  assertEquals(parseCertificates(derOf(cert)).map(({ pem }) => pem), [opensslText("x509 -in FILE", cert)]);
  assertEquals(namesOf(encodePem({ label: "CERTIFICATE", der: versionOne() })), ["CN=version 1"]);
  assertEquals(parseCertificates(versionOne()).map(({ subject }) => subject), ["CN=version 1"]);
});

test("parseCertificates() names the content of a file in DER without a certificate", async () => {
  const { cert, key } = await issueServer("foreign");
  const keys = [
    openssl("pkey -in FILE -outform der", key),
    openssl("genpkey -algorithm ed25519 -outform der"),
    openssl("ec -in FILE -outform der", key),
    openssl("rsa -in FILE -outform der -traditional", openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024")),
  ];
  const encrypted = openssl("pkcs8 -in FILE -topk8 -outform der -passout pass:horse", key);
  const request = openssl("req -new -key FILE -subj /CN=x -outform der", key);
  const held = [
    ...keys.map((each) => [each, "PRIVATE KEY"] as const),
    [encrypted, "ENCRYPTED PRIVATE KEY"] as const,
    [
      request,
      "CERTIFICATE REQUEST",
    ] as const,
  ];
  for (const [der, label] of held) {
    const message = new RegExp(`^Cannot find a certificate: it holds "${label}"$`);
    await assertRefused(() => parseCertificates(der), "NO_CERTIFICATE", { message });
  }
  for (const der of [Buffer.concat([derOf(cert), Buffer.of(0)]), derOf(cert).subarray(0, -1)]) {
    await assertRefused(() => parseCertificates(der), "PEM_INVALID", {
      message: /this is DER, but cut off, followed by/,
    });
  }
});

test("parseCertificates() names PKCS#7 and PKCS#12, with commands that convert them on OpenSSL 3", async () => {
  const { cert, key } = await issueServer("foreign");
  const pkcs7 = openssl("crl2pkcs7 -nocrl -certfile FILE -outform der", cert);
  const pkcs12 = openssl("pkcs12 -export -in FILE -passout pass:horse", cert + key);
  const old = openssl("pkcs12 -export -legacy -in FILE -passout pass:horse", cert + key);
  const refused = (der: Uint8Array, format: string) =>
    assertRefused(() => parseCertificates(der), "PEM_INVALID", { message: new RegExp(`: this is ${format}; convert`) });
  assertEquals(namesOf(converted(await refused(pkcs7, "PKCS#7 in DER"), pkcs7)), ["CN=foreign"]);
  for (const der of [pkcs12, old]) {
    const pem = converted(await refused(der, "PKCS#12"), der, " -passin pass:horse");
    assertEquals(namesOf(pem), ["CN=foreign"]);
    parsePrivateKey(pem);
  }
});

test("parsePem() names certificates and keys in DER, with the command that converts each", async () => {
  const { cert, key } = await issueServer("foreign");
  const refused = (der: Uint8Array, format: string) =>
    assertRefused(() => parsePem(der), "PEM_INVALID", { message: new RegExp(`: this is ${format}; convert`) });
  const x509 = derOf(cert);
  assertEquals(namesOf(converted(await refused(x509, "a certificate in DER"), x509)), ["CN=foreign"]);
  for (const der of [openssl("pkey -in FILE -outform der", key), openssl("ec -in FILE -outform der", key)]) {
    parsePrivateKey(converted(await refused(der, "a private key in DER"), der));
  }
  const encrypted = openssl(
    "pkcs8 -in FILE -topk8 -outform der -passout pass:horse -v1 PBE-MD5-DES -provider legacy -provider default",
    key,
  );
  const error = await refused(encrypted, "an encrypted private key in DER");
  parsePrivateKey(converted(error, encrypted, " -passin pass:horse"));
});

/** A certificate with other fields, signed again. */
async function reissued(change: (fields: DerValue[]) => readonly Uint8Array[]): Promise<Uint8Array> {
  const { cert, key } = await issueServer("changed");
  const [tbs, algorithm] = readChildren(readDerValue(derOf(cert)));
  const signed = encodeDer(DerTag.sequence, Buffer.concat(change(readChildren(tbs))));
  const signature = encodeDer(0x03, Buffer.concat([Buffer.of(0), sign("sha256", signed, key)]));
  return encodeDer(DerTag.sequence, Buffer.concat([signed, algorithm!.encoded, signature]));
}

test("Certificate names the time that breaks RFC 5280", async () => {
  const long = "YYYYMMDDHHMMSSZ";
  const bad: [tag: number, text: string, form: string][] = [
    [0x17, "2601010000Z", "YYMMDDHHMMSSZ"],
    [0x17, "260101000000+0000", "YYMMDDHHMMSSZ"],
    [0x17, "260230000000Z", "YYMMDDHHMMSSZ"],
    [0x18, "20260101000000.5Z", long],
    [0x18, "", long],
  ];
  for (const index of [0, 1]) {
    const field = ["notBefore", "notAfter"][index]!;
    for (const [tag, text, form] of bad) {
      const der = await reissued((fields) =>
        fields.map((value, at) => {
          if (at !== 4) return value.encoded;
          const times = readChildren(value).map(({ encoded }) => encoded);
          times[index] = encodeDer(tag, Buffer.from(text));
          return encodeDer(DerTag.sequence, Buffer.concat(times));
        })
      );
      const message = new RegExp(
        `: its ${field} is not a time of the form ${form} \\(RFC 5280 section 4\\.1\\.2\\.5\\)$`,
      );
      await assertRefused(() => new Certificate(der), "CERTIFICATE_INVALID", { message });
      const pem = encodePem({ label: "CERTIFICATE", der });
      await assertRefused(() => parseCertificates(pem), "CERTIFICATE_INVALID", { line: 1, message });
    }
  }
});

test("Certificate reads a unique identifier, or says that the runtime does not", async () => {
  const bits = Buffer.from("00a55a", "hex");
  for (
    const uniqueIds of [[encodeDer(0x81, bits)], [encodeDer(0x82, bits)], [
      encodeDer(0x81, bits),
      encodeDer(0x82, bits),
    ]]
  ) {
    const der = await reissued((fields) => {
      const parts = fields.map(({ encoded }) => encoded);
      return [...parts.slice(0, 7), ...uniqueIds, ...parts.slice(7)];
    });
    const isRead = (() => {
      try {
        return new X509Certificate(der).subject !== undefined;
      } catch {
        return false;
      }
    })();
    if (isRead) assertEquals(new Certificate(der).subject, "CN=changed");
    else {
      const message = /: this runtime does not read an issuerUniqueID or subjectUniqueID/;
      await assertRefused(() => new Certificate(der), "CERTIFICATE_INVALID", { message });
    }
  }
});

const SUBJECT_ALTERNATIVE_NAME = Buffer.from("0603551d11", "hex");
const localhost = encodeDer(0x82, Buffer.from("localhost"));
const ODD_NAMES: Record<string, [value: Uint8Array, dnsNames: string[]]> = {
  "an unknown tag": [encodeDer(0x30, Buffer.concat([localhost, encodeDer(0x89, Buffer.from("x"))])), ["localhost"]],
  "bytes after the names": [Buffer.concat([encodeDer(0x30, localhost), Buffer.of(5, 0)]), ["localhost"]],
  "a broken value after the names": [Buffer.concat([encodeDer(0x30, localhost), Buffer.of(5)]), ["localhost"]],
  "no list of names": [Buffer.of(0x05, 0), []],
};
for (const [what, [value, dnsNames]] of Object.entries(ODD_NAMES)) {
  test(`Certificate leaves it to the runtime to judge alternative names with ${what}`, async () => {
    const der = await reissued((fields) => {
      const extension = encodeDer(0x30, Buffer.concat([SUBJECT_ALTERNATIVE_NAME, encodeDer(0x04, value)]));
      return [...fields.slice(0, 7).map(({ encoded }) => encoded), encodeDer(0xa3, encodeDer(0x30, extension))];
    });
    const isRead = (() => {
      try {
        return new X509Certificate(der).subject !== undefined;
      } catch {
        return false;
      }
    })();
    if (isRead) assertEquals(new Certificate(der).dnsNames, dnsNames);
    else await assertRefused(() => new Certificate(der), "CERTIFICATE_INVALID", { message: /: this runtime does not/ });
  });
}

test("Certificate reads a UniversalString", async () => {
  const name = (text: string) => {
    const points = Buffer.concat([...text].map((each) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(each.codePointAt(0)!);
      return bytes;
    }));
    const attribute = Buffer.concat([Buffer.from("0603550403", "hex"), encodeDer(0x1c, points)]);
    return encodeDer(0x30, encodeDer(0x31, encodeDer(0x30, attribute)));
  };
  const der = await reissued((fields) => fields.map(({ encoded }, at) => at === 5 ? name("Zürich 🔑") : encoded));
  const certificate = new Certificate(der);
  assertEquals([certificate.subject, certificate.issuer], ["CN=Zürich 🔑", "CN=changed"]);
});

test("Certificate refuses half a character of a BMPString alike on every runtime", async () => {
  const attribute = Buffer.from("0603550403" + "1e03" + "004100", "hex");
  const name = encodeDer(0x30, encodeDer(0x31, encodeDer(0x30, attribute)));
  const der = await reissued((fields) => fields.map(({ encoded }, at) => at === 5 ? name : encoded));
  await assertRefused(() => new Certificate(der), "CERTIFICATE_INVALID", {
    message: /^Cannot read certificate: a text in its names is not UTF-16$/,
  });
});

test("Certificate reads certificates of 64 KiB and more on every runtime", () => {
  for (const count of [3_000, 6_000]) {
    const names = Array.from({ length: count }, (_, index) => `DNS:host-${index}.example.test`);
    const pem = issueByOpenssl(["-subj", "/CN=large"], { extensions: `subjectAltName = ${names}` });
    const certificate = parseOne(pem);
    assert(derOf(pem).length > 0xffff);
    assertEquals([certificate.dnsNames.length, certificate.pem], [count, pem]);
    assertEquals(certificate.fingerprint256, opensslFacts(pem).fingerprint256);
  }
});

test("Certificate throws only TlsReloadError for a certificate with changed bytes", async () => {
  const der = derOf((await issueServer("changed")).cert);
  const edit = fc.tuple(fc.nat(der.length), fc.nat(4), fc.uint8Array({ maxLength: 6 }));
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      const bytes = edits.reduce<Uint8Array>((bytes, [at, gone, put]) => {
        return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + gone)]);
      }, der);
      try {
        new Certificate(bytes);
      } catch (error) {
        assertInstanceOf(error, TlsReloadError);
        assertEquals(error.code, "CERTIFICATE_INVALID");
      }
    }),
    { seed: 1, numRuns: 2000 },
  );
});
