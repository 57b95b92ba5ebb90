import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import process from "node:process";
import test from "node:test";
import { findPath } from "../../src/x509/certification_path.ts";
import { encodeDer } from "../../src/x509/der.ts";
import { TrustAnchors } from "../../src/x509/trust_anchors.ts";
import {
  CLIENT_AUTH,
  ecKey,
  extension,
  general,
  keyIdentifierOf,
  type Made,
  make,
  nameOf,
  rsaKey,
  SERVER_AUTH,
} from "../support/made_certificates.ts";
import { opensslVerifies } from "../support/openssl.ts";

const HOUR_MS = 3_600_000;
const KEYS = [ecKey(), ecKey(), ecKey("P-384"), ecKey(), rsaKey()];

/** Mostly the first value, so that many chains come out well. */
const mostly = <const T>(usual: T, ...others: readonly T[]) =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, {
    weight: others.length,
    arbitrary: fc.constantFrom(...others),
  });

const domain = fc.constantFrom("example.com", "a.example.com", "b.example.com", "example.org", "com");
const dns = domain.map((value) => general.dns(value));
const email = fc.constantFrom("a@example.com", "b@example.com", "a@a.example.com", "A@EXAMPLE.com").map(general.email);
const uri = fc.constantFrom("spiffe://example.com/a", "https://a.example.com:8443/", "https://example.org").map(
  general.uri,
);
const ip = fc.constantFrom([10, 0, 0, 1], [10, 1, 0, 1], [192, 168, 0, 1]).map((bytes) => general.ip(...bytes));
const organization = fc.constantFrom("Example", "EXAMPLE", "Other").map((value) => ["2.5.4.10", value] as const);

const name = fc.oneof(dns, email, uri, ip);
const limit = fc.oneof(
  domain.map((value) => general.dns(value)),
  fc.constantFrom("example.com", ".example.com", "a@example.com", "example.org").map(general.email),
  fc.constantFrom("example.com", ".example.com", "example.org").map(general.uri),
  fc.constantFrom([10, 0, 0, 0, 255, 0, 0, 0], [10, 1, 0, 0, 255, 255, 0, 0]).map((bytes) => general.ip(...bytes)),
  organization.map((each) => general.directory(nameOf(each))),
);
const limits = fc.record({
  permitted: fc.array(limit, { maxLength: 2 }),
  excluded: fc.array(limit, { maxLength: 1 }),
}).map((each) => each.permitted.length + each.excluded.length > 0 ? extension.nameConstraints(each) : undefined);

/** What one certificate of a chain is made of, from the authority down. */
const layer = fc.record({
  key: fc.integer({ min: 0, max: KEYS.length - 1 }),
  commonName: mostly("own", "shared"),
  organization,
  isCa: mostly(true, false, undefined),
  pathLength: mostly<number | undefined>(undefined, 0, 1),
  keyUsage: mostly<number | undefined>(0x86, 0x80, 0x04, undefined),
  purposes: mostly<readonly string[] | undefined>(undefined, [CLIENT_AUTH], [SERVER_AUTH], [CLIENT_AUTH, SERVER_AUTH]),
  keyIdentifier: mostly("right", "wrong", "none"),
  age: mostly("valid", "expired", "early"),
  isForged: mostly(false, true),
  isUnknownCritical: mostly(false, true),
  limits: fc.option(limits, { freq: 2, nil: undefined }),
  names: fc.array(name, { maxLength: 2 }),
  isSent: mostly(true, false),
});
type Layer = typeof layer extends fc.Arbitrary<infer T> ? T : never;

function build(layers: readonly Layer[]): Made[] {
  const chain: Made[] = [];
  for (const [depth, each] of layers.entries()) {
    const issuer = chain[0];
    const isLeaf = depth === layers.length - 1;
    const offset = { valid: 0, expired: -4 * HOUR_MS, early: 4 * HOUR_MS }[each.age];
    const key = KEYS[each.key]!;
    const isCa = isLeaf ? each.isCa === true ? false : each.isCa : each.isCa;
    const wrong = Buffer.of(1, 2, 3);
    const extensions = [
      isCa !== undefined && extension.basicConstraints(isCa, isCa ? each.pathLength : undefined),
      each.keyUsage !== undefined && extension.keyUsage(each.keyUsage),
      each.purposes && extension.extKeyUsage(...each.purposes),
      each.keyIdentifier !== "none" && extension.subjectKeyIdentifier(keyIdentifierOf(key)),
      issuer && each.keyIdentifier !== "none" &&
      extension.keyIdOf({ keyIdentifier: each.keyIdentifier === "wrong" ? wrong : issuer.keyIdentifier }),
      each.isUnknownCritical && extension.raw("1.2.3.4", encodeDer(0x05, Buffer.of()), true),
      !isLeaf && each.limits,
      each.names.length > 0 && extension.subjectAltName(...each.names),
    ].filter((extension): extension is Uint8Array => extension instanceof Uint8Array);
    chain.unshift(make({
      ...(issuer && { issuer }),
      key,
      subject: nameOf(each.organization, ["2.5.4.3", each.commonName === "own" ? `depth ${depth}` : "shared"]),
      notBefore: Date.now() - HOUR_MS + offset,
      notAfter: Date.now() + HOUR_MS + offset,
      isForged: each.isForged,
      extensions,
    }));
  }
  return chain;
}

/** OpenSSL takes an authority without basicConstraints that has a keyUsage for one; RFC 5280 does not. */
const isRefusedByOursAlone = (layers: readonly Layer[]) => layers[0]!.isCa === undefined;

const SEED = 13;
/** A longer run: TLS_RELOAD_CHAINS=1000. */
const RUNS = Number(process.env["TLS_RELOAD_CHAINS"] ?? 120);

test("findPath() accepts exactly the clients that OpenSSL accepts (random chains)", () => {
  const count = { in: 0, out: 0 };
  fc.assert(
    fc.property(fc.array(layer, { minLength: 1, maxLength: 4 }), (layers) => {
      const [leaf, ...above] = build(layers);
      const anchors = above.length > 0 ? above.slice(-1) : [leaf!];
      const sent = above.slice(0, -1).filter((_, index) => layers[index]!.isSent);
      const parsed = (made: readonly Made[]) => made.map(({ parsed }) => parsed);
      const options = { at: Date.now(), purpose: "clientAuth" } as const;
      const { path, reason } = findPath(leaf!.parsed, parsed(sent), new TrustAnchors(parsed(anchors)), options);
      const isLetIn = opensslVerifies(leaf!, sent, anchors);
      count[isLetIn ? "in" : "out"]++;
      if (path || !isRefusedByOursAlone(layers)) assertEquals(path !== undefined, isLetIn, reason);
    }),
    { seed: SEED, numRuns: RUNS },
  );
  // Chains that all come to the same end would show nothing.
  assertEquals([count.in > RUNS / 5, count.out > RUNS / 5], [true, true], JSON.stringify(count));
});

const key = ecKey();
const crossLayer = fc.record({
  issuer: fc.integer({ min: 0, max: 3 }),
  subject: fc.integer({ min: 0, max: 3 }),
  isAnchor: fc.boolean(),
  isExpired: mostly(false, true),
});

test("findPath() accepts no client that OpenSSL refuses, if authorities have issued each other (random graphs)", () => {
  const subjects = KEYS.slice(0, 4).map((_, index) => nameOf(["2.5.4.3", `authority ${index}`]));
  const count = { in: 0, out: 0 };
  fc.assert(
    fc.property(fc.array(crossLayer, { minLength: 2, maxLength: 10 }), (links) => {
      const made = links.map(({ issuer, subject, isExpired }) =>
        make({
          key: KEYS[subject]!,
          subject: subjects[subject]!,
          issuerName: subjects[issuer]!,
          issuer: { key: KEYS[issuer]! } as Made,
          notAfter: Date.now() + (isExpired ? -1 : 1) * HOUR_MS / 2,
          extensions: [extension.basicConstraints(true)],
        })
      );
      const leaf = make({ key, issuer: { key: KEYS[0]! } as Made, issuerName: subjects[0]! });
      const anchors = made.filter((_, index) => links[index]!.isAnchor);
      const sent = made.filter((_, index) => !links[index]!.isAnchor);
      if (anchors.length === 0) return;
      const { path } = findPath(
        leaf.parsed,
        sent.map(({ parsed }) => parsed),
        new TrustAnchors(anchors.map(({ parsed }) => parsed)),
        { at: Date.now(), purpose: "clientAuth" },
      );
      const isLetIn = opensslVerifies(leaf, sent, anchors);
      count[isLetIn ? "in" : "out"]++;
      if (isLetIn) assertEquals(path !== undefined, true);
      // OpenSSL tries one authority of a name, the first in an order of its own: each of them is asked about alone.
      if (path && !isLetIn) {
        const unused = anchors.filter(({ der }) => !path.some((each) => Buffer.from(each.der).equals(der)));
        const isRival = ({ subject }: Made) =>
          path.some(({ structure }) => Buffer.from(structure.subject.encoded).equals(subject));
        const others = unused.filter((each) => !isRival(each));
        const used = anchors.filter((each) => !unused.includes(each));
        assertEquals(opensslVerifies(leaf, sent, [...used, ...others]), true);
      }
    }),
    { seed: SEED, numRuns: RUNS },
  );
  assertEquals([count.in > 10, count.out > 10], [true, true], JSON.stringify(count));
});
