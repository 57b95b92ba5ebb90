import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import test from "node:test";
import { Certificate } from "../../mod.ts";
import { authorityFindings, crlFindings } from "../../src/findings/findings.ts";
import { CertificateRevocationList } from "../../src/x509/crl.ts";
import {
  type AuthorityOptions,
  codesAbout,
  DAY_MS,
  findingsAbout,
  type FindOptions,
  type LeafOptions,
  makeAuthority,
  makeLeaf,
} from "../support/chains.ts";
import {
  bits,
  CLIENT_AUTH,
  ecKey,
  extension,
  general,
  integer,
  keyIdentifierOf,
  type Made,
  make,
  nameOf,
  octets,
  oid,
  rsaKey,
  sequence,
  text,
} from "../support/made_certificates.ts";

const root = makeAuthority("root");
const intermediate = makeAuthority("intermediate", { issuer: root, pathLength: 0 });
const other = makeAuthority("other root");
const good = makeLeaf(intermediate);
const roots = [root];

/** A chain that shows a finding, and one as near as can be that does not. */
interface Case {
  readonly name: string;
  readonly code: string;
  readonly shows: readonly Made[];
  readonly hides: readonly Made[];
  readonly showsWith?: FindOptions;
  readonly hidesWith?: FindOptions;
}

const leaf = (options: LeafOptions) => makeLeaf(intermediate, options);
/** A case of one certificate, with all that stands above it. */
const ofLeaf = (name: string, code: string, shows: LeafOptions, hides: LeafOptions = {}): Case => ({
  name,
  code,
  shows: [leaf(shows), intermediate],
  hides: [leaf(hides), intermediate],
});
const through = (options: AuthorityOptions, leafOptions: LeafOptions = {}): Made[] => {
  const issuer = makeAuthority("intermediate", { issuer: root, ...options });
  return [makeLeaf(issuer, leafOptions), issuer];
};
const now = Date.now();
const at = (days: number) => now + days * DAY_MS;
const since = (date: number, days: number) => ({ notBefore: date, notAfter: date + days * DAY_MS - 1000 });
const lifetime = (from: string, limit: number): Case => {
  const start = Date.parse(from);
  const withExtra = since(start, limit);
  return {
    name: `more than ${limit} days from ${from} on`,
    code: "warning LIFETIME_TOO_LONG",
    shows: [leaf({ ...withExtra, notAfter: withExtra.notAfter + 1000 }), intermediate],
    hides: [leaf(withExtra), intermediate],
    showsWith: { at: start + DAY_MS },
    hidesWith: { at: start + DAY_MS },
  };
};
const p224 = ecKey("secp224r1");
const sha1Root = makeAuthority("root", { hash: "sha1" });
const crossRoot = makeAuthority("cross root", { notAfter: at(-1) });
const rootKey = root.key;
const cross = makeAuthority("root", { issuer: crossRoot, key: rootKey, notAfter: at(-1) });

const CASES: readonly Case[] = [
  {
    name: "a chain that ends before a root",
    code: "error INTERMEDIATE_MISSING",
    shows: [good],
    hides: [good, intermediate],
    showsWith: { roots },
    hidesWith: { roots },
  },
  {
    name: "a leaf alone, without roots",
    code: "note INTERMEDIATE_MISSING",
    shows: [good],
    hides: [makeLeaf(undefined)],
  },
  {
    name: "a leaf alone whose issuer is a root",
    code: "error INTERMEDIATE_MISSING",
    shows: [makeLeaf(other)],
    hides: [makeLeaf(root)],
    showsWith: { roots },
    hidesWith: { roots },
  },
  {
    name: "a wrong intermediate",
    code: "warning INTERMEDIATE_MISSING",
    shows: [good, makeAuthority("another intermediate", { issuer: root })],
    hides: [good, intermediate],
  },
  {
    name: "an authority that clients do not know",
    code: "error AUTHORITY_UNKNOWN",
    shows: [good, intermediate, root],
    hides: [good, intermediate, root],
    showsWith: { roots: [other] },
    hidesWith: { roots },
  },
  {
    name: "a certificate signed by itself, with roots",
    code: "error AUTHORITY_UNKNOWN",
    shows: [makeLeaf(undefined)],
    hides: [makeLeaf(undefined)],
    showsWith: { roots },
  },
  {
    name: "a path that is too long",
    code: "error PATH_REFUSED",
    shows: deepChain(0),
    hides: deepChain(1),
    showsWith: { roots },
    hidesWith: { roots },
  },
  {
    name: "an issuer with a new key",
    code: "error SIGNATURE_WRONG",
    shows: [make({ ...forged(), isForged: true }), intermediate],
    hides: [make(forged()), intermediate],
  },
  {
    name: "certificates out of order",
    code: "warning CHAIN_DISORDERED",
    shows: [good, root, intermediate],
    hides: [good, intermediate, root],
  },
  {
    name: "an unrelated certificate",
    code: "warning CHAIN_UNRELATED",
    shows: [good, intermediate, other],
    // Another path to the same key is related.
    hides: [good, intermediate, cross],
  },
  {
    name: "a repeated certificate",
    code: "warning CHAIN_UNRELATED",
    shows: [good, intermediate, good],
    hides: [good, intermediate],
  },
  { name: "a root", code: "note ROOT_SENT", shows: [good, intermediate, root], hides: [good, intermediate, cross] },
  ofLeaf("a critical extension that nobody knows", "error CERTIFICATE_DEFECTIVE", {
    more: [extension.raw("1.2.3.4", octets(new Uint8Array()), true)],
  }, { more: [extension.raw("1.2.3.4", octets(new Uint8Array()))] }),
  ofLeaf("an expired certificate", "error EXPIRED", { notAfter: at(-1) }, { notAfter: at(40) }),
  {
    name: "an expired intermediate",
    code: "error EXPIRED",
    shows: through({ notAfter: at(-1) }),
    hides: through({ notAfter: at(200) }),
  },
  {
    name: "an expired link that another path does without",
    code: "warning EXPIRED",
    shows: [good, intermediate, cross],
    hides: [good, intermediate],
    showsWith: { roots },
    hidesWith: { roots },
  },
  ofLeaf("a certificate of tomorrow", "error NOT_YET_VALID", { notBefore: at(1) }, { notBefore: at(-1) }),
  ofLeaf("a certificate of 90 days that has 17 left", "warning EXPIRING", { notBefore: at(-73), notAfter: at(17) }, {
    notBefore: at(-71),
    notAfter: at(19),
  }),
  {
    name: "an intermediate with 29 days left",
    code: "warning EXPIRING",
    shows: through({ notAfter: at(29) }, { notBefore: at(-1), notAfter: at(20) }),
    hides: through({ notAfter: at(31) }, { notBefore: at(-1), notAfter: at(20) }),
  },
  {
    name: "an intermediate that expires first",
    code: "warning INTERMEDIATE_EXPIRES_FIRST",
    shows: through({ notAfter: at(79) }),
    hides: through({ notAfter: at(80) }, { notAfter: at(80) }),
  },
  lifetime("2020-09-01", 398),
  lifetime("2026-03-15", 200),
  lifetime("2027-03-15", 100),
  lifetime("2029-03-15", 47),
  ofLeaf("no subjectAltName", "error NO_SAN", { names: [] }, { names: [general.ip(127, 0, 0, 1)] }),
  {
    name: "another host's certificate",
    code: "error NAME_NOT_COVERED",
    shows: [good, intermediate],
    hides: [good, intermediate],
    showsWith: { names: ["mail.example.com"] },
    hidesWith: { names: ["WWW.example.com."] },
  },
  {
    name: "another address",
    code: "error NAME_NOT_COVERED",
    shows: [leaf({ names: [general.ip(...Array(15).fill(0), 1)] }), intermediate],
    hides: [leaf({ names: [general.ip(...Array(15).fill(0), 1)] }), intermediate],
    showsWith: { names: ["::2"] },
    hidesWith: { names: ["0:0::1"] },
  },
  {
    name: "a name two labels under a wildcard",
    code: "error NAME_NOT_COVERED",
    shows: [leaf({ names: [general.dns("*.example.com")] }), intermediate],
    hides: [leaf({ names: [general.dns("*.example.com")] }), intermediate],
    showsWith: { names: ["a.b.example.com"] },
    hidesWith: { names: ["b.example.com"] },
  },
  {
    name: "a text that cannot be a name, like one in the certificate",
    code: "error NAME_NOT_COVERED",
    shows: [leaf({ names: [general.dns("\x9b a")] }), intermediate],
    hides: [leaf({ names: [general.dns("\x9b a"), general.dns("a")] }), intermediate],
    showsWith: { names: ["\x9b b"] },
    hidesWith: { names: ["a"] },
  },
  ofLeaf("a wildcard alone", "note WILDCARD_NARROW", { names: [general.dns("*.example.com")] }, {
    names: [general.dns("*.example.com"), general.dns("example.com")],
  }),
  ofLeaf("a wildcard for a part of a label", "warning WILDCARD_UNUSABLE", { names: [general.dns("w*.example.com")] }, {
    names: [general.dns("*.w.example.com")],
  }),
  ofLeaf("a wildcard for a top-level domain", "warning WILDCARD_UNUSABLE", { names: [general.dns("*.com")] }, {
    names: [general.dns("*.example.com")],
  }),
  ofLeaf("the certificate of a client", "error EKU_WITHOUT_SERVER_AUTH", { purposes: [CLIENT_AUTH] }, { purposes: [] }),
  {
    name: "an intermediate for clients",
    code: "error EKU_WITHOUT_SERVER_AUTH",
    shows: through({ more: [extension.extKeyUsage(CLIENT_AUTH)] }),
    hides: through({ more: [extension.extKeyUsage(CLIENT_AUTH, "1.3.6.1.5.5.7.3.1")] }),
  },
  ofLeaf("the certificate of an authority", "error LEAF_IS_AUTHORITY", { isCa: true }),
  ofLeaf("keyEncipherment alone", "error KEY_USAGE_WITHOUT_DIGITAL_SIGNATURE", { keyUsage: 0x20, key: rsaKey() }, {
    keyUsage: 0xa0,
    key: rsaKey(),
  }),
  ofLeaf("RSA with 1024 bits", "error RSA_TOO_SHORT", { key: rsaKey(1024) }, { key: rsaKey(2048) }),
  ofLeaf("P-224", "error CURVE_WEAK", { key: p224 }, { key: ecKey("P-384") }),
  {
    name: "SHA-1",
    code: "error SIGNATURE_WEAK",
    shows: [leaf({ hash: "sha1" }), intermediate],
    // The signature of a root on itself says nothing.
    hides: [makeLeaf(sha1Root), sha1Root],
  },
  ofLeaf("a subject that is empty beside a subjectAltName that is not critical", "warning NOT_STRICT", {
    subject: nameOf(),
  }),
  {
    name: "an intermediate without keyUsage",
    code: "warning NOT_STRICT",
    shows: (() => {
      const issuer = make({
        subject: "intermediate",
        issuer: root,
        notAfter: at(300),
        extensions: [
          extension.basicConstraints(true),
          extension.subjectKeyIdentifier(intermediate.keyIdentifier),
          extension.keyIdOf(root),
        ],
        key: intermediate.key,
      });
      return [makeLeaf(issuer), issuer];
    })(),
    hides: through({}),
  },
];

/** A chain of two intermediates, under one that lets so many follow. */
function deepChain(pathLength: number): Made[] {
  const first = makeAuthority("first", { issuer: root, pathLength });
  const second = makeAuthority("second", { issuer: first });
  return [makeLeaf(second), second, first];
}

function forged() {
  return {
    issuer: intermediate,
    notAfter: at(80),
    extensions: [extension.subjectAltName(general.dns("www.example.com")), extension.keyIdOf(intermediate)],
  };
}

for (const { name, code, shows, hides, showsWith, hidesWith } of CASES) {
  test(`${code}: ${name} shows it, and its nearest neighbour does not`, () => {
    const found = codesAbout(shows, showsWith);
    assert(found.includes(code), `found: ${found}`);
    assert(!codesAbout(hides, hidesWith).includes(code), "the neighbour shows it as well");
  });
}

test("a good chain has no finding, with and without roots", () => {
  assertEquals(codesAbout([good, intermediate], { roots, names: ["www.example.com"] }), []);
  assertEquals(codesAbout([good, intermediate]), []);
});

test("the worst findings come first, and each has a message and a hint", () => {
  const findings = findingsAbout([leaf({ keyUsage: 0x20, notAfter: at(1) }), intermediate, root, other]);
  const severities = findings.map(({ severity }) => severity);
  assertEquals(
    severities,
    severities.toSorted((one, two) => "error warning note".indexOf(one) - "error warning note".indexOf(two)),
  );
  for (const { subject, message, hint } of findings) assert(subject && message && hint);
});

test("a file of many certificates of one name takes no more than linear time", () => {
  const keys = [ecKey(), ecKey()] as const;
  // Each one names the key of every second one as that of its issuer, and none has signed another.
  const many = Array.from({ length: 400 }, (_, index) => {
    const [own, other] = [keys[index % 2]!, keys[1 - index % 2]!];
    const extensions = [
      extension.basicConstraints(true),
      extension.subjectKeyIdentifier(keyIdentifierOf(own)),
      extension.keyIdOf({ keyIdentifier: keyIdentifierOf(other) }),
    ];
    return make({ subject: "same", key: own, notAfter: at(index), extensions });
  });
  const start = process.cpuUsage();
  findingsAbout([makeLeaf(many[0]), ...many], { roots });
  const { user } = process.cpuUsage(start);
  assert(user < 5_000_000, `${user} µs`);
});

test("keyUsage without digitalSignature names key usage and the clients that refuse it", () => {
  const [finding] = findingsAbout([leaf({ keyUsage: 0x20, key: rsaKey() }), intermediate]);
  assert(finding?.message.includes("key usage lacks digitalSignature") && finding.message.includes("BoringSSL"));
});

const aboutAuthorities = (...made: readonly Made[]) =>
  authorityFindings({ authorities: made.map(({ der }) => new Certificate(der)), at: now }, undefined)
    .map(({ severity, code }) => `${severity} ${code}`);

test("authorities of clients are looked at, as they are by the verification of clients", () => {
  assertEquals(aboutAuthorities(root, intermediate), []);
  assertEquals(aboutAuthorities(intermediate), ["error AUTHORITY_UNUSABLE"]);
  assertEquals(aboutAuthorities(makeLeaf(undefined)), ["error AUTHORITY_UNUSABLE"]);
  assertEquals(aboutAuthorities(makeAuthority("short", { key: rsaKey(1024) })), ["error AUTHORITY_UNUSABLE"]);
  assertEquals(aboutAuthorities(makeAuthority("old", { notAfter: at(-1) })), ["error AUTHORITY_EXPIRED"]);
  assertEquals(aboutAuthorities(makeAuthority("new", { notBefore: at(1) })), ["error AUTHORITY_NOT_YET_VALID"]);
  assertEquals(aboutAuthorities(makeAuthority("late", { notAfter: at(29) })), ["warning AUTHORITY_EXPIRING"]);
  assertEquals(aboutAuthorities(makeAuthority("in time", { notAfter: at(31) })), []);
  const lax = make({ subject: "lax", notAfter: at(100), extensions: [extension.basicConstraints(true)] });
  assertEquals(aboutAuthorities(lax), ["warning AUTHORITY_NOT_STRICT"]);
});

test("a revocation list must be current, and of one of the authorities", async () => {
  const { sign } = await import("node:crypto");
  const listOf = (issuer: Made, nextUpdate: number) => {
    const algorithm = sequence(oid("1.2.840.10045.4.3.2"));
    const time = (ms: number) => text(0x17, new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "").slice(2));
    const signed = sequence(integer(1), algorithm, issuer.subject, time(at(-30)), time(nextUpdate));
    return new CertificateRevocationList(
      sequence(signed, algorithm, bits(sign("sha256", signed, issuer.key.privateKey))),
    );
  };
  const about = (list: CertificateRevocationList, ...made: readonly Made[]) =>
    crlFindings({ crls: [list], authorities: made.map(({ der }) => new Certificate(der)), at: now }, undefined)
      .map(({ severity, code }) => `${severity} ${code}`);
  assertEquals(about(listOf(root, at(8)), root), []);
  assertEquals(about(listOf(root, at(7)), root), ["warning CRL_EXPIRING"]);
  assertEquals(about(listOf(root, at(-1)), root), ["error CRL_STALE"]);
  assertEquals(about(listOf(other, at(8)), root), ["error CRL_FOREIGN"]);
  assertEquals(about(listOf(other, at(8))), []);
});

test("FindingCode documents each code, and the cases cover each one", () => {
  const source = readFileSync(new URL("../../src/findings/finding.ts", import.meta.url), "utf8");
  const [, union = ""] = /export type FindingCode =([^;]*);/.exec(source) ?? [];
  const codes = [...union.matchAll(/"(\w+)"/g)].map(([, code = ""]) => code);
  const documented = [...source.matchAll(/^ \* \| (`\w+`(?:, `\w+`)*) \|/gm)]
    .flatMap(([, list = ""]) => list.split(", ").map((code) => code.replaceAll("`", "")));
  assertEquals(documented, codes);
  const shown = new Set(CASES.map(({ code }) => code.split(" ")[1]));
  for (const code of codes) assert(shown.has(code) || /^AUTHORITY_|^CRL_/.test(code), `${code} has no case`);
});
