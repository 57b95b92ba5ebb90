import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import test from "node:test";
import { encodeDer } from "../../src/x509/der.ts";
import { violationOf } from "../../src/x509/name_constraints.ts";
import { ecKey, extension, general, make, nameOf, sequence, text } from "../support/made_certificates.ts";
import { opensslVerifies } from "../support/openssl.ts";
import { fastestOf } from "../support/timing.ts";

const key = ecKey();

interface Limits {
  readonly permitted?: readonly Uint8Array[];
  readonly excluded?: readonly Uint8Array[];
}

/** Why a client with these names, and no other, breaks the constraints; and that OpenSSL says the same, or is milder. */
function violation(limits: Limits, names: readonly Uint8Array[], subject: Uint8Array, isOpensslMilder = false) {
  const authority = make({ key, extensions: [extension.basicConstraints(true), extension.nameConstraints(limits)] });
  const extensions = names.length > 0 ? [extension.subjectAltName(...names)] : [];
  const leaf = make({ key, issuer: authority, subject, extensions });
  const options = { isLeaf: true, budget: { comparisons: 1_000 } };
  const found = violationOf(leaf.parsed, authority.parsed.extensions.nameConstraints!, options);
  const isLetIn = opensslVerifies(leaf, [], [authority]);
  assertEquals(isLetIn, found === undefined || isOpensslMilder && isLetIn, found);
  return found;
}

/** Whether a name lies within a constraint. Both ways are asked about: what is permitted and what is excluded. */
function lies(name: Uint8Array, limit: Uint8Array): boolean {
  const isPermitted = violation({ permitted: [limit] }, [name], sequence()) === undefined;
  const isExcluded = violation({ excluded: [limit] }, [name], sequence()) !== undefined;
  assertEquals(isPermitted, isExcluded);
  return isPermitted;
}

const { dns, email, uri, ip } = general;
const WITHIN: Readonly<Record<string, readonly (readonly [name: Uint8Array, limit: Uint8Array, lies: boolean])[]>> = {
  DNS: [
    [dns("example.com"), dns("example.com"), true],
    [dns("a.b.example.com"), dns("example.com"), true],
    [dns("A.EXAMPLE.com"), dns("eXample.COM"), true],
    [dns("badexample.com"), dns("example.com"), false],
    [dns("com"), dns("example.com"), false],
    [dns("a.example.com"), dns(".example.com"), true],
    [dns("example.com"), dns(".example.com"), false],
    [dns("anything"), dns(""), true],
  ],
  "e-mail": [
    [email("a@example.com"), email("a@example.com"), true],
    [email("A@example.com"), email("a@example.com"), false],
    [email("a@EXAMPLE.com"), email("a@example.com"), true],
    [email("a@example.com"), email("example.com"), true],
    [email("a@b.example.com"), email("example.com"), false],
    [email("a@b.example.com"), email(".example.com"), true],
    [email("a@example.com"), email(".example.com"), false],
    [email('"a@evil.org"@example.com'), email("example.com"), true],
  ],
  URI: [
    [uri("spiffe://example.com/path"), uri("example.com"), true],
    [uri("https://EXAMPLE.com:443/"), uri("example.com"), true],
    [uri("https://a.example.com"), uri("example.com"), false],
    [uri("https://a.example.com/x?y#z"), uri(".example.com"), true],
    [uri("https://example.com/"), uri(".example.com"), false],
  ],
  IP: [
    [ip(10, 1, 2, 3), ip(10, 0, 0, 0, 255, 0, 0, 0), true],
    [ip(11, 1, 2, 3), ip(10, 0, 0, 0, 255, 0, 0, 0), false],
    [ip(11, 1, 2, 3), ip(0, 0, 0, 0, 0, 0, 0, 0), true],
    [ip(...new Array(16).fill(1)), ip(0, 0, 0, 0, 0, 0, 0, 0), false],
    [ip(...new Array(16).fill(1)), ip(...new Array(16).fill(1), ...new Array(16).fill(255)), true],
  ],
  directory: [
    [
      general.directory(nameOf(["2.5.4.10", "A"], ["2.5.4.3", "b"])),
      general.directory(nameOf(["2.5.4.10", "a "])),
      true,
    ],
    [
      general.directory(nameOf(["2.5.4.10", "A"])),
      general.directory(nameOf(["2.5.4.10", "A"], ["2.5.4.3", "b"])),
      false,
    ],
    [
      general.directory(nameOf(["2.5.4.3", "b"], ["2.5.4.10", "A"])),
      general.directory(nameOf(["2.5.4.10", "A"])),
      false,
    ],
    [general.directory(nameOf(["2.5.4.10", "A"])), general.directory(sequence()), true],
  ],
};

for (const [kind, cases] of Object.entries(WITHIN)) {
  test(`violationOf() compares names with a constraint like OpenSSL: ${kind}`, () => {
    for (const [name, limit, expected] of cases) {
      assertEquals(lies(name, limit), expected, `${Buffer.from(name)} within ${Buffer.from(limit)}`);
    }
  });
}

test("violationOf() checks only names of a constrained kind", () => {
  const subject = nameOf(["2.5.4.3", "client"]);
  const limits = { permitted: [dns("example.com")], excluded: [ip(10, 0, 0, 0, 255, 0, 0, 0)] };
  assertEquals(violation(limits, [uri("spiffe://a/b"), email("a@b"), ip(11, 0, 0, 0)], subject), undefined);
  assertMatch(violation(limits, [dns("example.com"), dns("example.org")], subject)!, /outside .* dns/);
  assertMatch(violation(limits, [ip(10, 0, 0, 1)], subject)!, /excluded: ip/);
});

test("violationOf() checks the subject: its name, its addresses, and the host name of a client without DNS names", () => {
  const inside = nameOf(["2.5.4.10", "Example"], ["1.2.840.113549.1.9.1", "a@example.com", 0x16]);
  const limits = { permitted: [general.directory(nameOf(["2.5.4.10", "Example"])), email("example.com")] };
  assertEquals(violation(limits, [], inside), undefined);
  assertMatch(violation(limits, [], nameOf(["2.5.4.10", "Other"]))!, /outside .* directory/);
  const address = (value: string, tag?: number) =>
    nameOf(["2.5.4.10", "Example"], ["1.2.840.113549.1.9.1", value, tag]);
  assertMatch(violation(limits, [], address("a@example.org", 0x16))!, /outside .* email/);
  assertMatch(violation(limits, [], address("a@example.com", 0x0c))!, /cannot be compared .* email/);

  const hosts = { permitted: [dns("example.com")] };
  const host = (name: string) => nameOf(["2.5.4.3", name]);
  assertEquals(violation(hosts, [], host("a.example.com")), undefined);
  assertEquals(violation(hosts, [], host("John Doe")), undefined);
  assertEquals(violation(hosts, [], host("single")), undefined);
  assertMatch(violation(hosts, [], host("a.example.org"))!, /outside .* dns/);
  assertEquals(violation(hosts, [dns("example.com")], host("a.example.org")), undefined);
  assertMatch(violation(hosts, [], host("a.example.com\0.example.org"))!, /cannot be compared .* dns/);
});

test("violationOf() refuses names that cannot be compared", () => {
  const limit = { excluded: [uri("example.com")] };
  for (
    const value of ["urn:example.com", "https://10.0.0.1/", "https://a@example.com/", "https://[::1]/", "mailto:a@b"]
  ) {
    assertMatch(violation(limit, [uri(value)], sequence(), true)!, /cannot be compared .* uri/, value);
  }
  for (const value of ["example.com.", "a b.example.org", "-.example.org", "*.*.example.org", "\0example.com"]) {
    assertMatch(
      violation({ excluded: [dns("example.com")] }, [dns(value)], sequence(), true)!,
      /compared|excluded/,
      value,
    );
  }
  assertMatch(
    violation({ excluded: [email("example.com")] }, [email("example.com")], sequence())!,
    /compared .* email/,
  );
  assertMatch(violation({ permitted: [ip(0, 0, 0, 0, 0, 0, 0, 0)] }, [ip(1, 2, 3)], sequence())!, /compared .* ip/);
  const other = general.other("1.2.3.4", text(0x0c, "x"));
  assertMatch(violation({ permitted: [other] }, [other], sequence())!, /compared .* other/);
  const mailbox = general.other("1.3.6.1.5.5.7.8.9", text(0x0c, "a@example.com"));
  assertMatch(violation({ permitted: [email("example.com")] }, [mailbox], sequence(), true)!, /compared .* other/);
});

test("violationOf() refuses malformed constraints", () => {
  const unusable = [
    dns("*.example.com"),
    dns("example.com."),
    dns("exämple.com"),
    email("@"),
    email("exa mple.com"),
    uri("https://example.com"),
    uri(""),
    ip(10, 0, 0, 0),
    ip(10, 0, 0, 0, 255, 0, 255, 0),
    encodeDer(0x87, Buffer.alloc(32, 0b01010101)),
  ];
  for (const limit of unusable) {
    for (const limits of [{ permitted: [limit] }, { excluded: [limit] }]) {
      assertMatch(violation(limits, [], sequence(), true)!, /not supported/, Buffer.from(limit).toString());
    }
  }
});

test("violationOf() limits the number of comparisons", () => {
  const leaf = make({ key, extensions: [extension.subjectAltName(dns("a.test"), dns("b.test"))] }).parsed;
  const limits = make({ key, extensions: [extension.nameConstraints({ excluded: [dns("c.test"), dns("d.test")] })] });
  const constraints = limits.parsed.extensions.nameConstraints!;
  // Two names and the subject.
  const budget = { comparisons: 6 };
  assertEquals(violationOf(leaf, constraints, { isLeaf: true, budget }), undefined);
  assertEquals(budget.comparisons, 0);
  assertMatch(violationOf(leaf, constraints, { isLeaf: true, budget })!, /too many/);
});

test("violationOf() reads a common name of 60,000 zeros in 20 ms", async () => {
  const leaf = make({ key, subject: nameOf(["2.5.4.3", `${"\0".repeat(60_000)}x`]) }).parsed;
  const constraints = { permitted: [{ kind: "dns", value: "example.com" }], excluded: [] } as const;
  const ms = await fastestOf(3, () => {
    const options = { isLeaf: true, budget: { comparisons: 1_000 } };
    assertMatch(violationOf(leaf, constraints, options)!, /cannot be compared .* dns/);
  });
  assert(ms < 20, `${ms} ms`);
});
