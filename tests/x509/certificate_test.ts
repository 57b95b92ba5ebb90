import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import test from "node:test";
import { inspect } from "node:util";
import { Certificate, encodePem, parseCertificates, parsePem, parsePrivateKey, TlsReloadError } from "../../mod.ts";
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

/** What `openssl x509` says of a certificate. */
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
  test(`Certificate tells the same as openssl x509 of a certificate with ${what}`, () => {
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

test("Certificate reads alternative names of all kinds, and takes none for another (CVE-2021-44532)", async () => {
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

test("Certificate.pem is the certificate and nothing else", async () => {
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

test("parseCertificates() reads a chain in its order, and passes over what is no certificate", async () => {
  const chain = await chainOfThree();
  const { key } = await issueServer("key");
  const request = "-----BEGIN CERTIFICATE REQUEST-----\nAwMD\n-----END CERTIFICATE REQUEST-----\n";
  const parameters = opensslText("ecparam -name prime256v1");
  assertEquals(namesOf(chain), CHAIN);
  assertEquals(namesOf(parameters + key + request + chain + key), CHAIN);
});

test("parseCertificates() loses no certificate when one character is put in or taken out anywhere", async () => {
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

test("parseCertificates() loses no certificate of a file that was cut off in one", async () => {
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

const notX509 = /^Cannot read certificate 2 at line (\d+): it is no X\.509$/;

test("parseCertificates() refuses a section that is no certificate, with its line", async () => {
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
    "in an array": Buffer.concat([Buffer.from([0x30, 0x82, der.length >> 8, der.length & 255]), der]),
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
    await assertRefused(() => new Certificate(bytes), "CERTIFICATE_INVALID", { message: /: it is no X\.509$/ });
  }
});

test("parseCertificates() names the file", async () => {
  const file = {
    path: "chain.pem",
    bytes: Buffer.from("-----BEGIN CERTIFICATE-----\nAwMD\n-----END CERTIFICATE-----\n"),
  };
  const message = /^Cannot read certificate 1 in "chain\.pem" at line 1: it is no X\.509$/;
  await assertRefused(() => parseCertificates(file), "CERTIFICATE_INVALID", { path: "chain.pem", line: 1, message });
});

test("parseCertificates() says what there is instead of a certificate", async () => {
  const { key } = await issueServer("key");
  const message = /^Cannot find a certificate in "key\.pem": it holds "PRIVATE KEY"$/;
  const file = { path: "key.pem", bytes: Buffer.from(key) };
  await assertRefused(() => parseCertificates(file), "NO_CERTIFICATE", { path: "key.pem", message });
  await assertRefused(() => parseCertificates(""), "NO_CERTIFICATE", { message: /: it holds no PEM$/ });
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

test("parseCertificates() refuses labels of old, with the command that converts them", async () => {
  const { cert } = await issueServer("old");
  const trusted = opensslText("x509 -in FILE -trustout -addtrust serverAuth", cert);
  const x509 = cert.replaceAll("CERTIFICATE", "X509 CERTIFICATE");
  for (const [label, pem] of [["TRUSTED CERTIFICATE", trusted], ["X509 CERTIFICATE", x509]] as const) {
    const line = cert.trimEnd().split("\n").length + 1;
    const message = new RegExp(`: convert "${label}" with: openssl x509 `);
    const error = await assertRefused(() => parseCertificates(cert + pem), "PEM_INVALID", { line, message });
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

test("parseCertificates() names foreign formats, with the command that converts them", async () => {
  const { cert, key } = await issueServer("foreign");
  const x509 = openssl("x509 -in FILE -outform der", cert);
  const pkcs7 = openssl("crl2pkcs7 -nocrl -certfile FILE -outform der", cert);
  const pkcs12 = openssl("pkcs12 -export -in FILE -passout pass:horse", cert + key);
  const keys = [
    openssl("pkey -in FILE -outform der", key),
    openssl("genpkey -algorithm ed25519 -outform der"),
    openssl("ec -in FILE -outform der", key),
  ];
  const encrypted = openssl("pkcs8 -in FILE -topk8 -outform der -passout pass:horse", key);

  const refused = (der: Uint8Array, format: string) =>
    assertRefused(() => parseCertificates(der), "PEM_INVALID", { message: new RegExp(`: this is ${format}; convert`) });
  assertEquals(namesOf(converted(await refused(x509, "a certificate in DER"), x509)), ["CN=foreign"]);
  assertEquals(namesOf(converted(await refused(pkcs7, "PKCS#7 in DER"), pkcs7)), ["CN=foreign"]);
  assertEquals(namesOf(converted(await refused(pkcs12, "PKCS#12"), pkcs12, " -passin pass:horse")), ["CN=foreign"]);
  for (const der of keys) parsePrivateKey(converted(await refused(der, "a private key in DER"), der));
  const error = await refused(encrypted, "an encrypted private key in DER");
  parsePrivateKey(converted(error, encrypted, " -passin pass:horse"));
});

test("Certificate throws nothing but TlsReloadError for a certificate that has been changed in places", async () => {
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
