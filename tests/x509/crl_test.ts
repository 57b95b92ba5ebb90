import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { type KeyObject, randomBytes, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import test from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { encodePem, parseCertificates, TlsReloadError } from "../../mod.ts";
import { CertificateRevocationList, MAX_CRL_BYTES, parseCrls } from "../../src/x509/crl.ts";
import { encodeDer } from "../../src/x509/der.ts";
import { readPemFile } from "../../src/x509/pem_file.ts";
import { issueServer } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import {
  boolean,
  ecKey,
  integer,
  keyIdentifierOf,
  type Made,
  make,
  octets,
  oid,
  sequence,
  text,
} from "../support/made_certificates.ts";
import { assertRefused } from "../support/refusals.ts";
import { fastestOf } from "../support/timing.ts";

const HOUR_MS = 3_600_000;
const ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));

interface CrlOptions {
  readonly issuer?: Uint8Array;
  readonly thisUpdate?: Uint8Array;
  readonly nextUpdate?: Uint8Array | null;
  readonly entries?: readonly Uint8Array[];
  readonly extensions?: readonly Uint8Array[];
  readonly version?: Uint8Array | null;
  readonly algorithm?: Uint8Array;
  readonly outerAlgorithm?: Uint8Array;
  readonly signer?: KeyObject;
  readonly hash?: string;
  readonly after?: readonly Uint8Array[];
}

const utcTime = (at: number) => text(0x17, new Date(at).toISOString().replace(/^..|[-:T]|\.\d+/g, ""));
const extension = (id: string, value: Uint8Array, isCritical = false) =>
  sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octets(value));
const entry = (serial: Uint8Array, ...extensions: readonly Uint8Array[]) =>
  sequence(encodeDer(0x02, serial), utcTime(Date.now()), ...(extensions.length > 0 ? [sequence(...extensions)] : []));
const serialOf = (hex: string) => Buffer.from(hex, "hex");

/** A list in DER that an authority has signed. */
function crlOf(authority: Made, options: CrlOptions = {}): Uint8Array {
  const { entries = [], extensions = [], algorithm = ECDSA_SHA256, version = integer(1) } = options;
  const nextUpdate = options.nextUpdate === undefined ? utcTime(Date.now() + HOUR_MS) : options.nextUpdate;
  const signed = sequence(
    ...(version ? [version] : []),
    algorithm,
    options.issuer ?? authority.subject,
    options.thisUpdate ?? utcTime(Date.now() - HOUR_MS),
    ...(nextUpdate ? [nextUpdate] : []),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    ...(extensions.length > 0 ? [encodeDer(0xa0, sequence(...extensions))] : []),
    ...(options.after ?? []),
  );
  const signature = sign(options.hash ?? "sha256", signed, options.signer ?? authority.key.privateKey);
  return sequence(
    signed,
    options.outerAlgorithm ?? algorithm,
    encodeDer(0x03, Buffer.concat([Buffer.of(0), signature])),
  );
}

const pemOf = (der: Uint8Array) => encodePem({ label: "X509 CRL", der });
const certificateOf = ({ pem }: Made) => parseCertificates(pem)[0]!;
const key = ecKey();
const identifier = octets(keyIdentifierOf(key));
const ca = make({ subject: "authority", key, extensions: [sequence(oid("2.5.29.14"), octets(identifier))] });
const other = make({ subject: "other" });

test("parseCrls() reads issuer, times, identifiers and serial numbers", () => {
  const der = crlOf(ca, {
    thisUpdate: text(0x17, "260102030405Z"),
    nextUpdate: text(0x18, "20520102030405Z"),
    entries: [
      entry(serialOf("01")),
      entry(serialOf("00ff")),
      entry(serialOf("7f000000000000000000000000000000000000ab")),
    ],
    extensions: [
      extension("2.5.29.20", encodeDer(0x02, serialOf("010000"))),
      extension("2.5.29.35", sequence(encodeDer(0x80, ca.keyIdentifier))),
    ],
  });
  const [crl, ...rest] = parseCrls(pemOf(der));
  assertEquals(rest, []);
  assertEquals([crl!.issuer, crl!.crlNumber, crl!.size], ["CN=authority", "010000", 3]);
  assertEquals(crl!.authorityKeyIdentifier, Buffer.from(ca.keyIdentifier).toString("hex").toUpperCase());
  assertEquals([crl!.thisUpdate, crl!.nextUpdate], [
    new Date("2026-01-02T03:04:05Z"),
    new Date("2052-01-02T03:04:05Z"),
  ]);
  for (const revoked of ["01", "FF", "7F000000000000000000000000000000000000AB"]) {
    assert(crl!.isRevoked(revoked), revoked);
  }
  for (const good of ["00", "02", "0100", "FF00", "7F000000000000000000000000000000000000AC", "", "-01"]) {
    assert(!crl!.isRevoked(good), good);
  }
  assert(Object.isFrozen(crl));
  crl!.verify(certificateOf(ca));
});

test("CertificateRevocationList.isRevoked() accepts the serial number of a Certificate", () => {
  for (const serialNumber of [1, 127, 128, 255, 256, 32_768, 65_535]) {
    const revoked = make({ issuer: ca });
    const certificate = certificateOf(revoked);
    assert(parseCrls(crlOf(ca, { entries: [entry(serialOf(`00${certificate.serialNumber}`))] }))[0]!
      .isRevoked(certificate.serialNumber));
    const hex = serialNumber.toString(16).padStart(serialNumber > 255 ? 4 : 2, "0");
    const [crl] = parseCrls(crlOf(ca, { entries: [entry(serialOf(hex)), entry(serialOf(`0000${hex}`))] }));
    assertEquals([crl!.isRevoked(hex.toUpperCase()), crl!.size], [true, 1]);
  }
});

test("CertificateRevocationList.isRevoked() finds every serial number of a list and no other", () => {
  const serial = fc.uint8Array({ minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.uniqueArray(serial, { selector: hexOf }), fc.array(serial), (listed, asked) => {
      const [crl] = parseCrls(crlOf(ca, { entries: listed.map((bytes) => entry(bytes)) }));
      const revoked = new Set(listed.map(hexOf));
      assertEquals(crl!.size, revoked.size);
      for (const each of [...listed, ...asked].map(hexOf)) assertEquals(crl!.isRevoked(each), revoked.has(each));
    }),
    { seed: 1, numRuns: 200 },
  );
});

/** As the facts of a certificate write it, for numbers that are not negative. */
function hexOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex").replace(/^(?:00)+(?=..)/, "").toUpperCase();
  return hex;
}

test("parseCrls() reads several lists of a file, in DER one", () => {
  const lists = [ca, other].map((authority) => crlOf(authority));
  const file = `# ours\n${lists.map(pemOf).join("# the next\n")}${ca.pem}`;
  assertEquals(parseCrls(file).map(({ issuer }) => issuer), ["CN=authority", "CN=other"]);
  assertEquals(parseCrls(lists[1]!).map(({ issuer }) => issuer), ["CN=other"]);
});

test("parseCrls() reads an empty list, one without nextUpdate, and one of version 1", () => {
  const [empty] = parseCrls(crlOf(ca));
  assertEquals([empty!.size, empty!.isRevoked("01"), empty!.crlNumber, empty!.authorityKeyIdentifier], [
    0,
    false,
    undefined,
    undefined,
  ]);
  const [endless] = parseCrls(crlOf(ca, { nextUpdate: null, entries: [entry(serialOf("05"))] }));
  assertEquals([endless!.nextUpdate, endless!.isRevoked("05")], [undefined, true]);
  assert(endless!.isCurrentAt(new Date("9999-01-01")));
  const [old] = parseCrls(crlOf(ca, { version: null, entries: [entry(serialOf("05"))] }));
  assertEquals([old!.size, old!.isRevoked("05")], [1, true]);
});

test("CertificateRevocationList.isCurrentAt() compares with thisUpdate and nextUpdate", () => {
  const [crl] = parseCrls(crlOf(ca));
  const [from, to] = [crl!.thisUpdate.getTime(), crl!.nextUpdate!.getTime()];
  assertEquals([from - 1, from, to, to + 1].map((at) => crl!.isCurrentAt(new Date(at))), [false, true, true, false]);
  assert(crl!.isCurrentAt());
});

const REFUSED: Record<string, [options: CrlOptions, reason: RegExp]> = {
  "a delta CRL": [
    { extensions: [extension("2.5.29.27", integer(1), true)] },
    /delta CRLs \(deltaCRLIndicator\) are not supported$/,
  ],
  "a delta CRL that does not say that this is critical": [
    { extensions: [extension("2.5.29.27", integer(1))] },
    /delta CRLs \(deltaCRLIndicator\) are not supported$/,
  ],
  "an indirect CRL": [
    { extensions: [extension("2.5.29.28", sequence(encodeDer(0x84, Buffer.of(0xff))), true)] },
    /indirect CRLs \(indirectCRL of issuingDistributionPoint\) are not supported$/,
  ],
  "a CRL of user certificates only": [
    { extensions: [extension("2.5.29.28", sequence(encodeDer(0x81, Buffer.of(0xff))), true)] },
    /CRLs of a part of the certificates \(issuingDistributionPoint\) are not supported$/,
  ],
  "an unknown critical extension": [
    { extensions: [extension("1.2.3.4", integer(1), true)] },
    /its critical extension 1\.2\.3\.4 is not known$/,
  ],
  "an entry of another issuer": [
    { entries: [entry(serialOf("01")), entry(serialOf("02"), extension("2.5.29.29", sequence(), true))] },
    /an entry has the critical extension 2\.5\.29\.29$/,
  ],
  "version 3": [{ version: integer(2) }, /its version is not 1 or 2$/],
  "a broken thisUpdate": [{ thisUpdate: text(0x17, "260230000000Z") }, /its thisUpdate is not a time of the form/],
  "a broken nextUpdate": [{ nextUpdate: text(0x18, "26") }, /its nextUpdate is not a time of the form/],
  "an extension twice": [
    { extensions: [extension("2.5.29.20", integer(1)), extension("2.5.29.20", integer(2))] },
    /it is not a certificate revocation list$/,
  ],
  "fields that are not known": [{ after: [integer(1)] }, /it is not a certificate revocation list$/],
  "an entry without a serial number": [
    { entries: [sequence(utcTime(0), utcTime(0))] },
    /it is not a certificate revocation list$/,
  ],
  "an entry without a date": [
    { entries: [sequence(integer(1), octets(Buffer.alloc(20)))] },
    /it is not a certificate revocation list$/,
  ],
  "an entry that is too short": [
    { entries: [sequence(integer(1), text(0x17, ""))] },
    /it is not a certificate revocation list$/,
  ],
};

for (const [what, [options, message]] of Object.entries(REFUSED)) {
  test(`parseCrls() refuses ${what}`, async () => {
    const der = crlOf(ca, options);
    const file = { path: "ca.crl", bytes: Buffer.from(`${pemOf(crlOf(other))}${pemOf(der)}`) };
    const line = pemOf(crlOf(other)).trimEnd().split("\n").length + 1;
    const place = new RegExp(`^Cannot read revocation list 2 in "ca\\.crl" at line ${line}: `);
    const error = await assertRefused(() => parseCrls(file), "CRL_INVALID", { path: "ca.crl", line, message });
    assertMatch(error.message, place);
    await assertRefused(() => new CertificateRevocationList(der), "CRL_INVALID", { message });
  });
}

test("parseCrls() ignores extensions that are not critical, of the list and of its entries", () => {
  const reason = extension("2.5.29.21", encodeDer(0x0a, Buffer.of(1)));
  const unknown = extension("1.2.3.4", Buffer.of(0x01, 0x01, 0xff));
  const [crl] = parseCrls(crlOf(ca, {
    entries: [entry(serialOf("01"), reason), entry(serialOf("02"), reason, unknown)],
    extensions: [unknown],
  }));
  assertEquals([crl!.isRevoked("01"), crl!.isRevoked("02")], [true, true]);
});

test("parseCrls() names the sections of a file without a list, and the label that a list must have", async () => {
  const { cert } = await issueServer("server");
  const message = /^Cannot find a revocation list in "a\.pem": it holds "CERTIFICATE"$/;
  const file = { path: "a.pem", bytes: Buffer.from(cert) };
  await assertRefused(() => parseCrls(file), "CRL_INVALID", { path: "a.pem", message });
  await assertRefused(() => parseCrls(""), "CRL_INVALID", { message: /it holds no PEM$/ });
  const mislabelled = encodePem({ label: "CRL", der: crlOf(ca) });
  await assertRefused(() => parseCrls(mislabelled), "CRL_INVALID", {
    line: 1,
    message: /the label must be X509 CRL: "CRL"$/,
  });
  for (const der of [Buffer.of(0x30, 0), Buffer.concat([crlOf(ca), Buffer.of(0)]), crlOf(ca).subarray(0, -1)]) {
    await assertRefused(() => parseCrls(pemOf(der)), "CRL_INVALID", {
      line: 1,
      message: /it is not a certificate revocation list$/,
    });
  }
});

const sha1 = { algorithm: sequence(oid("1.2.840.10045.4.1")), hash: "sha1" };
const FORGED: Record<string, [options: CrlOptions, reason: RegExp]> = {
  "that another key has signed": [{ signer: other.key.privateKey }, /its signature is not the issuer's$/],
  "of another issuer": [{ issuer: other.subject }, /it is not of the authority "CN=authority"$/],
  "of another key identifier": [
    { extensions: [extension("2.5.29.35", sequence(encodeDer(0x80, Buffer.alloc(20))))] },
    /it is not of the authority "CN=authority"$/,
  ],
  "that is signed with SHA-1": [sha1, /it is signed with sha1$/],
  "that names two algorithms": [
    { outerAlgorithm: sequence(oid("1.2.840.10045.4.3.3")) },
    /it names two signature algorithms$/,
  ],
  "whose algorithm is of another key": [
    { algorithm: sequence(oid("1.2.840.113549.1.1.11"), encodeDer(0x05, Buffer.of())) },
    /it is signed with another kind of key$/,
  ],
};

for (const [what, [options, message]] of Object.entries(FORGED)) {
  test(`CertificateRevocationList.verify() refuses a list ${what}`, async () => {
    const [crl] = parseCrls(crlOf(ca, options));
    await assertRefused(() => crl!.verify(certificateOf(ca)), "CRL_INVALID", { message });
  });
}

test("CertificateRevocationList.verify() refuses a list with an entry that was not signed", async () => {
  const der = Buffer.from(crlOf(ca, { entries: [entry(serialOf("41424344"))] }));
  der[der.indexOf("ABCD")] = 0x42;
  const [crl] = parseCrls(der);
  assert(crl!.isRevoked("42424344"));
  await assertRefused(() => crl!.verify(certificateOf(ca)), "CRL_INVALID", {
    message: /signature is not the issuer's$/,
  });
});

test("CertificateRevocationList.verify() requires cRLSign if the authority has a key usage", async () => {
  const usage = (bits: number) => extension("2.5.29.15", encodeDer(0x03, Buffer.of(0, bits)), true);
  const may = make({ subject: "may", extensions: [usage(0x02)] });
  const mayNot = make({ subject: "may not", extensions: [usage(0x04)] });
  parseCrls(crlOf(may))[0]!.verify(certificateOf(may));
  await assertRefused(() => parseCrls(crlOf(mayNot))[0]!.verify(certificateOf(mayNot)), "CRL_INVALID", {
    message: /the key usage of the authority lacks cRLSign$/,
  });
});

/** Runs `openssl ca`, which makes real lists, in a directory of its own. */
function opensslCrl(algorithm: string, digest: string, format: "PEM" | "DER"): { ca: string; crl: Uint8Array } {
  const folder = mkdtempSync(join(tmpdir(), "tls-reload-"));
  const run = (...args: string[]) => {
    const { status, stderr } = spawnSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    assertEquals(status, 0, String(stderr));
  };
  try {
    const config =
      `[ca]\ndefault_ca=x\n[x]\ndatabase=index\ncrlnumber=number\ndefault_md=${digest}\ndefault_crl_days=1\n` +
      "crl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n[req]\ndistinguished_name=n\n[n]\n[c]\nkeyUsage=critical,cRLSign,keyCertSign\n" +
      "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n";
    writeFileSync(join(folder, "config"), config);
    writeFileSync(join(folder, "number"), "0A\n");
    const lines = ["05", "0C", "FF01"].map((serial) =>
      `R\t300101000000Z\t260101000000Z,keyCompromise\t${serial}\tunknown\t/CN=x\n`
    );
    writeFileSync(join(folder, "index"), lines.join(""));
    run("genpkey", ...algorithm.split(" "), "-out", "key");
    run(
      "req",
      "-x509",
      "-new",
      "-key",
      "key",
      "-subj",
      "/O=Test/CN=openssl",
      "-days",
      "1",
      "-out",
      "ca",
      "-config",
      "config",
      "-extensions",
      "c",
    );
    run("ca", "-gencrl", "-config", "config", "-keyfile", "key", "-cert", "ca", "-out", "crl.pem");
    run("crl", "-in", "crl.pem", "-outform", format, "-out", "crl");
    return { ca: readFileSync(join(folder, "ca"), "utf8"), crl: new Uint8Array(readFileSync(join(folder, "crl"))) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const KEYS = {
  "RSA": "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
  "P-256": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
  "P-384": "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
  "P-521": "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
  "Ed25519": "-algorithm ED25519",
};
for (const [name, algorithm] of Object.entries(KEYS)) {
  for (const format of ["PEM", "DER"] as const) {
    test(`parseCrls() reads and verifies a list of openssl ca with ${name}, in ${format}`, () => {
      const made = opensslCrl(algorithm, name === "Ed25519" ? "default" : "sha256", format);
      const [crl] = parseCrls(made.crl);
      const [authority] = parseCertificates(made.ca);
      crl!.verify(authority!);
      assertEquals([crl!.issuer, crl!.crlNumber, crl!.size], [authority!.subject, "0A", 3]);
      assertEquals(["05", "0C", "FF01", "06", "01FF"].map((each) => crl!.isRevoked(each)), [
        true,
        true,
        true,
        false,
        false,
      ]);
      assert(crl!.isCurrentAt());
      assertThrows(() => crl!.verify(certificateOf(ca)), TlsReloadError);
    });
  }
}

test("CertificateRevocationList.verify() refuses a list that openssl ca has signed with SHA-1", async () => {
  const made = opensslCrl(KEYS.RSA, "sha1", "PEM");
  const [authority] = parseCertificates(made.ca);
  await assertRefused(() => parseCrls(made.crl)[0]!.verify(authority!), "CRL_INVALID", {
    message: /it is signed with sha1$/,
  });
});

const ENTRIES = 100_000;

function largeList(): Uint8Array {
  const reason = extension("2.5.29.21", encodeDer(0x0a, Buffer.of(1)));
  const date = utcTime(Date.now());
  const extensions = sequence(reason);
  const entries = Array.from({ length: ENTRIES }, (_, index) => {
    const serial = randomBytes(16);
    serial.writeUInt32BE(0x40000000 | index, 0);
    return sequence(encodeDer(0x02, serial), date, extensions);
  });
  return crlOf(ca, { entries });
}

function usedBytes(): number {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun) {
    Bun.gc(true);
  } else {
    setFlagsFromString("--expose-gc");
    runInNewContext("gc")();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test("parseCrls() reads 100,000 entries in less than 150 ms and 20 MB", () =>
  withFiles(async (files) => {
    const der = largeList();
    for (const [name, content] of Object.entries({ "large.crl": der, "large.pem": pemOf(der) })) {
      const path = await files.write(name, content);
      const fastest = await fastestOf(8, async () => {
        const [crl] = parseCrls(await readPemFile(path, { maxBytes: MAX_CRL_BYTES }));
        assertEquals(crl!.size, ENTRIES);
      });
      assert(fastest < 150, `${fastest} ms for ${name}`);
    }
    const before = usedBytes();
    const lists = parseCrls(der);
    const held = usedBytes() - before;
    assert(held < 20_000_000, `${held} bytes`);
    assertEquals(lists[0]!.size, ENTRIES);
  }));

test("CertificateRevocationList.isRevoked() takes no longer for 100,000 entries than for ten", async () => {
  const time = (crl: CertificateRevocationList) =>
    fastestOf(10, () => {
      for (let index = 0; index < 10_000; index++) crl.isRevoked((0x1_0000_0000 + index).toString(16).toUpperCase());
    });
  const few = Array.from({ length: 10 }, () => entry(randomBytes(16)));
  const small = new CertificateRevocationList(crlOf(ca, { entries: few }));
  const large = new CertificateRevocationList(largeList());
  await time(small);
  const [shortMs, longMs] = [await time(small), await time(large)];
  assert(longMs < 10 * shortMs, `${shortMs} ms and ${longMs} ms`);
});
