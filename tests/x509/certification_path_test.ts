import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import test from "node:test";
import { findPath, type PathResult } from "../../src/x509/certification_path.ts";
import { encodeDer } from "../../src/x509/der.ts";
import { TrustAnchors } from "../../src/x509/trust_anchors.ts";
import {
  ADMITTED_CLIENTS,
  ca,
  caExtensions,
  client,
  intermediate,
  REFUSED_CLIENTS,
  root,
} from "../support/client_kinds.ts";
import {
  commonName,
  ecKey,
  extension,
  general,
  type Made,
  make,
  nameOf,
  oid,
  sequence,
  text,
} from "../support/made_certificates.ts";
import { opensslVerifies } from "../support/openssl.ts";
import { fastestOf } from "../support/timing.ts";

const HOUR_MS = 3_600_000;

/** Looks for a path as a server does that was shown these certificates. */
function find(leaf: Made, intermediates: readonly Made[], anchors: readonly Made[], at = Date.now()): PathResult {
  const parsed = (made: readonly Made[]) => made.map(({ parsed }) => parsed);
  return findPath(leaf.parsed, parsed(intermediates), new TrustAnchors(parsed(anchors)), { at, purpose: "clientAuth" });
}

/** Finds that there is a path, and that OpenSSL agrees. */
function assertPath(leaf: Made, intermediates: readonly Made[], anchors: readonly Made[], length: number): void {
  assert(opensslVerifies(leaf, intermediates, anchors));
  const { path, reason } = find(leaf, intermediates, anchors);
  assertEquals(path?.length, length, reason);
}

test("findPath() finds a path of one, two and three certificates", () => {
  assertPath(client(root), [], [root], 2);
  assertPath(client(intermediate), [intermediate], [root], 3);
  const pinned = make({ subject: "self-signed client" });
  assertPath(pinned, [], [pinned], 1);
});

test("findPath() finds the authority among a thousand, and ignores certificates beside the path", () => {
  const key = ecKey();
  const others = Array.from({ length: 1_000 }, (_, index) => ca({ subject: `other ${index}`, key }));
  const { path } = find(client(intermediate), [...others.slice(0, 5), intermediate], [...others, root]);
  assertEquals(path?.map(({ subject }) => subject), ["CN=client", "CN=intermediate", "CN=authority"]);
});

test("findPath() uses an authority that is not self-signed as an intermediate certificate", () => {
  assertPath(client(intermediate), [], [intermediate, root], 3);
});

test("findPath() compares names by RFC 5280 section 7.1", () => {
  const authority = ca({ subject: nameOf(["2.5.4.10", "Example  Org", 0x13], ["2.5.4.3", " One", 0x0c]) });
  const issuerName = nameOf(["2.5.4.10", "example org", 0x0c], ["2.5.4.3", "ONE ", 0x13]);
  assertPath(client(authority, { issuerName }), [], [authority], 2);
});

test("findPath() tries every authority of the same name", () => {
  const make = () => ca({ extensions: [extension.basicConstraints(true)] });
  const authorities = [make(), make(), make()];
  for (const issuer of authorities) {
    const leaf = client(issuer, { extensions: [] });
    for (const anchors of [authorities, authorities.toReversed()]) {
      assertEquals(find(leaf, [], anchors).path?.length, 2);
    }
  }
});

test("findPath() does not count self-issued certificates against a path length", () => {
  const limited = ca({ extensions: caExtensions(root.key, 0), key: root.key });
  const rolled = ca({ issuer: limited, subject: "authority" });
  assertPath(client(rolled), [rolled], [limited], 3);
});

test("findPath() accepts an empty subject if there is another name", () => {
  const extensions = [extension.subjectAltName(general.uri("spiffe://example.org/a"))];
  assertPath(client(root, { subject: sequence(), extensions }), [], [root], 2);
});

test("findPath() accepts critical policies, as OpenSSL does by default", () => {
  const policies = extension.raw("2.5.29.32", sequence(sequence(oid("1.2.3.4"))), true);
  const authority = ca({
    issuer: root,
    extensions: [...caExtensions(intermediate.key), policies],
    key: intermediate.key,
  });
  assertPath(client(authority), [authority], [root], 3);
});

for (const [name, { chain, reason, stricterThanOpenssl }] of Object.entries(REFUSED_CLIENTS)) {
  test(`findPath() refuses ${name}${stricterThanOpenssl ? "" : ", and so does OpenSSL"}`, () => {
    const [leaf, intermediates, anchors] = chain();
    const result = find(leaf, intermediates, anchors);
    assertEquals(result.path, undefined);
    assertStringIncludes(result.reason!, reason);
    assertEquals(opensslVerifies(leaf, intermediates, anchors), stricterThanOpenssl !== undefined);
  });
}

test("findPath() checks the validity of each certificate at the given moment", () => {
  const leaf = client(intermediate, { notAfter: Date.now() + HOUR_MS / 2 });
  const at = (ms: number) => find(leaf, [intermediate], [root], Date.now() + ms).path?.length;
  assertEquals([at(0), at(HOUR_MS / 4), at(3 * HOUR_MS / 4), at(-2 * HOUR_MS)], [3, 3, undefined, undefined]);
});

for (const [name, { chain, length }] of Object.entries(ADMITTED_CLIENTS)) {
  test(`findPath() accepts ${name}, and so does OpenSSL`, () => assertPath(...chain(), length));
}

test("findPath() refuses a forged certificate even after the genuine one was verified", () => {
  assertEquals(find(client(root), [], [root]).path?.length, 2);
  assertEquals(find(client(root, { isForged: true }), [], [root]).path, undefined);
  const impostor = ca();
  assertEquals(find(client(impostor), [], [root]).path, undefined);
});

test("findPath() ends in less than a second if certificates have issued each other", async () => {
  const keys = Array.from({ length: 8 }, () => ecKey());
  const names = keys.map((_, index) => `bridge ${index}`);
  const bridges = keys.map((key, index) => ca({ key, subject: names[index]! }));
  const crossed = bridges.flatMap((issuer) =>
    bridges.filter((each) => each !== issuer).map(({ key, subject }) => ca({ issuer, key, subject }))
  );
  const leaf = client(bridges[0]!, { extensions: [] });
  for (const [intermediates, anchors] of [[crossed, [root]], [[], [...crossed, root]]] as const) {
    const ms = await fastestOf(2, () => assertEquals(find(leaf, intermediates, anchors).path, undefined));
    assert(ms < 1_000, `${ms} ms`);
  }
});

test("findPath() never trusts an authority that a client sends", () => {
  const foreign = ca({ subject: "foreign" });
  const crossed = ca({ issuer: foreign, key: root.key, subject: "authority" });
  assertEquals(find(client(root), [crossed, foreign], []).path, undefined);
  assertEquals(find(client(root), [crossed, foreign], [root]).path?.length, 2);
  assertEquals(find(client(root), [crossed, foreign], [foreign]).path?.length, 3);
});

test("findPath() reads names of any string type", () => {
  for (const tag of [0x0c, 0x13, 0x14, 0x16]) {
    const authority = ca({ subject: sequence(encodeDer(0x31, sequence(oid("2.5.4.3"), text(tag, "authority")))) });
    assertPath(client(authority, { issuerName: commonName("authority") }), [], [authority], 2);
  }
});
