import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import test from "node:test";
import { TrustAnchors } from "../../src/x509/trust_anchors.ts";
import { ca } from "../support/client_kinds.ts";
import { commonName, ecKey, type Made } from "../support/made_certificates.ts";
import { fastestOf } from "../support/timing.ts";

const unparsed = (made: readonly Made[]) =>
  made.map(({ der, parsed: { fingerprint256 } }) => ({ der, fingerprint256 }));
const anchorsOf = (...made: readonly Made[]) => new TrustAnchors(unparsed(made));

test("TrustAnchors finds authorities by name, each once and in order", () => {
  const [first, second, other] = [ca(), ca(), ca({ subject: "other" })];
  const anchors = anchorsOf(first, second, first, other);
  const fingerprints = (made: readonly Made[]) => made.map(({ parsed }) => parsed.fingerprint256);
  const found = anchors.bySubject(first.parsed.subjectKey).map(({ fingerprint256 }) => fingerprint256);
  assertEquals(found, fingerprints([first, second]));
  assertEquals([...anchors.fingerprints], fingerprints([first, second, other]));
  assertEquals(anchors.bySubject("none"), []);
  assertEquals([anchors.has(first.parsed), anchors.has(ca().parsed)], [true, false]);
});

test("TrustAnchors leaves out authorities that cannot be parsed", () => {
  const authority = ca();
  const broken = { der: Buffer.from("3000", "hex"), fingerprint256: "broken" };
  const anchors = new TrustAnchors([broken, ...unparsed([authority])]);
  assertEquals(anchors.bySubject(authority.parsed.subjectKey).length, 1);
});

test("TrustAnchors.hasCycle is true if authorities have issued each other", () => {
  const [one, two, three] = [ca({ subject: "one" }), ca({ subject: "two" }), ca({ subject: "three" })];
  const issuedBy = (issuer: Made, { key, subject }: Made) => ca({ issuer, key, subject });
  assertEquals(anchorsOf().hasCycle, false);
  assertEquals(anchorsOf(one, issuedBy(one, two), issuedBy(two, three)).hasCycle, false);
  assertEquals(anchorsOf(issuedBy(one, two), issuedBy(two, one)).hasCycle, true);
  assertEquals(anchorsOf(one, issuedBy(one, two), issuedBy(two, three), issuedBy(three, one)).hasCycle, true);
});

test("TrustAnchors takes linear time for 1,000 authorities that have issued each other in a row", async () => {
  const key = ecKey();
  const names = Array.from({ length: 1_001 }, (_, index) => commonName(`${index}`));
  const row = names.slice(1).map((subject, index) => ca({ key, subject, issuerName: names[index]! }));
  const ms = await fastestOf(3, () => assertEquals(new TrustAnchors(unparsed(row)).hasCycle, false));
  // Cubic time would be minutes; the machine may be busy.
  assert(ms < 200, `${ms} ms`);
});
