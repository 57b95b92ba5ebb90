import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import test from "node:test";
import { encodePem, parseCertificates, type TlsReloadError } from "../../mod.ts";
import { readBundle } from "../../src/roots/bundle.ts";
import type { Roots } from "../../src/roots/root.ts";
import { issueCa } from "../support/certificates.ts";
import { openssl } from "../support/openssl.ts";
import { fastestOf } from "../support/timing.ts";

const issued = await Promise.all(["a", "b", "c", "d", "e"].map((name) => issueCa(name)));
const [a, b, c, d, e] = issued.map(({ cert }) => cert) as [string, string, string, string, string];
const five = [a, b, c, d, e].join("");
const names = new Map(issued.map(({ fingerprint256 }, index) => [fingerprint256, "abcde"[index]]));

/** The certificates of a bundle, and its problems. */
function read(bundle: string | Uint8Array) {
  const roots: Roots = new Map();
  const problems: TlsReloadError[] = [];
  const bytes = typeof bundle === "string" ? Buffer.from(bundle) : bundle;
  const count = readBundle({ path: "roots.pem", bytes }, roots, (problem) => problems.push(problem));
  const found = [...roots.values()].map(({ x509 }) => names.get(x509?.fingerprint256 ?? "")).join("");
  return { found, count, problems };
}

const SOUND: Record<string, string> = {
  "as it is": five,
  "CRLF": five.replaceAll("\n", "\r\n"),
  "lone CR": five.replaceAll("\n", "\r"),
  "mixed line ends": a + b.replaceAll("\n", "\r\n") + c.replaceAll("\n", "\r") + d + e,
  "a byte order mark": `\ufeff${five}`,
  "no newline at the end": five.trimEnd(),
  "blank lines": five.replaceAll("\n", "\n\n"),
  "white space around lines": five.replaceAll("\n", " \t\n  "),
  "white space at the ends of body lines": five.replace(/([A-Za-z0-9+/=])\n(?!-)/g, "$1 \t\n"),
  "one line for each body": five.replace(/([A-Za-z0-9+/=])\n(?!-)/g, "$1"),
  "comments": `# Ärzte-CA - G2\n${a}# two\n${b}\n=======\n${c}# -- 'three'\n${d}${e}the end`,
  "p11-kit headers": `[p11-kit-object-v1]\nlabel: "CA"\ntrusted: true\n${a}${b}${c}${d}${e}`,
  "a private key, parameters and a revocation list": a + encodePem({ label: "PRIVATE KEY", der: Buffer.alloc(9, 1) }) +
    b + encodePem({ label: "EC PARAMETERS", der: Buffer.alloc(9, 1) }) + c +
    encodePem({ label: "X509 CRL", der: Buffer.alloc(9, 1) }) + d + e,
};
for (const [what, bundle] of Object.entries(SOUND)) {
  test(`readBundle() reads five certificates with ${what}`, () => {
    assertEquals(read(bundle), { found: "abcde", count: 5, problems: [] });
  });
}

test("readBundle() adds each certificate once and counts every occurrence", () => {
  assertEquals(read(a + b + a + a.replaceAll("\n", "\r\n") + b), { found: "ab", count: 5, problems: [] });
});

const BROKEN: Record<string, [section: string, reason: RegExp, line?: number]> = {
  "without END": [c.replace(/-----END.*\n/, ""), /no END/],
  "with an END of another label": [c.replace("END CERTIFICATE", "END X509 CRL"), /ends as "X509 CRL"/],
  "whose BEGIN has four dashes": [c.slice(1), /five dashes/],
  "whose BEGIN has six dashes": [`-${c}`, /five dashes/],
  "whose END has four dashes": [c.replace("-----\n", "-----\n").replace(/-----\n$/, "----\n"), /five dashes/],
  "that is empty": ["-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", /empty/],
};
for (const [what, [section, reason]] of Object.entries(BROKEN)) {
  test(`readBundle() skips a section ${what}, and reports its line`, () => {
    const { found, problems } = read(a + b + section + d + e);
    assertEquals(found, "abde");
    const [problem] = problems;
    assertEquals([problems.length, problem!.code, problem!.path], [1, "PEM_INVALID", "roots.pem"]);
    assertMatch(problem!.message, reason);
    const first = (a + b).split("\n").length;
    assertEquals(
      problem!.line! >= first && problem!.line! < first + section.split("\n").length,
      true,
      problem!.message,
    );
  });
}

test("readBundle() skips a section that is not base64, and reports its line", () => {
  const broken = [c.replace(/.(?=\n-)/, "!"), c.replace(/.(?=\n-)/, ""), c.replace(/\n.{20}/, "\n*")];
  for (const bad of broken) {
    const { found, problems } = read(a + b + bad + d + e);
    assertEquals(found, "abde");
    assertEquals(problems.map(({ code }) => code), ["PEM_INVALID"]);
    assertMatch(problems[0]!.message, /section "CERTIFICATE" is not base64$/);
  }
});

test("readBundle() does not parse DER", () => {
  const { found, problems } = read(a + b + c.replace(/^M/m, "A") + d + e);
  assertEquals([found, problems], ["abde", []]);
});

test("readBundle() ignores a root that is commented out, or whose BEGIN is not at the start of a line", () => {
  const quoted = (prefix: string) => c.replaceAll(/^(?=.)/gm, prefix);
  for (
    const distrusted of [
      quoted("#"),
      quoted("# "),
      quoted("> "),
      quoted("//"),
      `# distrusted since 2026-05\n${quoted("#")}`,
      `#${c.replace(/-----END.*/, "#$&")}`,
    ]
  ) {
    assertEquals(read(a + b + distrusted + d + e), { found: "abde", count: 4, problems: [] });
  }
});

test("readBundle() reports a root with only its BEGIN commented out, and does not trust it", () => {
  for (const distrusted of [`#${c}`, `x${c}`, `- ${c}`]) {
    const { found, problems } = read(a + b + distrusted + d + e);
    assertEquals([found, problems.map(({ code }) => code)], ["abde", ["PEM_INVALID"]]);
  }
});

test("readBundle() reads the old label X509 CERTIFICATE", () => {
  assertEquals(read(a + b.replaceAll("CERTIFICATE", "X509 CERTIFICATE")), { found: "ab", count: 2, problems: [] });
});

test("readBundle() skips each TRUSTED CERTIFICATE, and reports them once", () => {
  const trusted = openssl("x509 -in FILE -trustout -addtrust serverAuth", c).toString();
  assertMatch(trusted, /BEGIN TRUSTED CERTIFICATE/);
  const { found, problems } = read(a + trusted + b + trusted);
  assertEquals(found, "ab");
  assertEquals(problems.length, 1);
  assertMatch(
    problems[0]!.message,
    /"roots\.pem" at line \d+: convert each "TRUSTED CERTIFICATE", of which there are 2, with: openssl x509/,
  );
  assertEquals(problems[0]!.line, a.split("\n").length);
});

test("readBundle() reports at most 1,001 faults, within 200 ms for 16 MiB of BEGIN lines", async () => {
  const bytes = Buffer.from("-----BEGIN CERTIFICATE-----\n".repeat(16 * 1024 * 1024 / 28));
  const fastest = await fastestOf(5, () => {
    const { found, problems } = read(bytes);
    assertEquals([found, problems.length], ["", 1001]);
    assertMatch(problems.at(-1)!.message, /it has too many faults, so the rest is not read$/);
  });
  assert(fastest < 200, `${fastest} ms`);
});

test("readBundle() names the format of a file that is not PEM", () => {
  const der = openssl("x509 -in FILE -outform der", a);
  for (const [bytes, reason] of [[der, /DER/], [Buffer.from(`\ufeff${a}`, "utf16le"), /UTF-16/]] as const) {
    const { count, problems } = read(bytes);
    assertEquals([count, problems.length], [0, 1]);
    assertMatch(problems[0]!.message, reason);
  }
  assertEquals(read("no certificate here"), { found: "", count: 0, problems: [] });
  assertEquals(read(""), { found: "", count: 0, problems: [] });
});

test("readBundle() finds the same certificates as parseCertificates() in well-formed files", () => {
  const part = fc.constantFrom(a, b, c, d, e, "# a comment\n", "\n", "text - with -- dashes\n");
  const lineEnd = fc.constantFrom("\n", "\r\n", "\r", "\n\n", " \n");
  fc.assert(fc.property(fc.array(fc.tuple(part, lineEnd), { minLength: 1, maxLength: 8 }), (parts) => {
    const text = parts.map(([part, lineEnd]) => part.replaceAll("\n", lineEnd)).join("");
    fc.pre(text.includes("BEGIN"));
    const expected = parseCertificates(text).map(({ fingerprint256 }) => names.get(fingerprint256));
    assertEquals(read(text), { found: [...new Set(expected)].join(""), count: expected.length, problems: [] });
  }));
});

test("readBundle() loses no good certificate if other lines are removed or repeated", () => {
  const lines = c.split("\n");
  fc.assert(fc.property(fc.nat(lines.length - 2), fc.nat(3), fc.boolean(), (at, length, twice) => {
    const damaged = twice
      ? [...lines.slice(0, at + length), ...lines.slice(at)]
      : [...lines.slice(0, at), ...lines.slice(at + length)];
    const { found } = read(`${a}${b}${damaged.join("\n")}\n${d}${e}`);
    assertEquals(found.replace("c", ""), "abde");
  }));
});
