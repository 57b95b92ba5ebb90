import type { Certificate } from "../x509/certificate.ts";
import { CoveredNames, coversName, normalizeName } from "../x509/server_name.ts";
import type { ChainFacts } from "./chain_facts.ts";
import { type Rule, titleOf } from "./finding.ts";

const noSan: Rule<ChainFacts> = ({ leaf }) => {
  if (leaf.dnsNames.length + leaf.ipAddresses.length > 0) return [];
  return [{
    code: "NO_SAN",
    severity: "error",
    subject: titleOf(leaf),
    message: "no subjectAltName with a DNS name or an address; clients ignore the common name",
    hint: "reissue it with subjectAltName = DNS:NAME",
  }];
};

const nameNotCovered: Rule<ChainFacts> = ({ leaf, names }) =>
  names.filter((name) => !coversName(leaf, name)).map((name) => ({
    code: "NAME_NOT_COVERED",
    severity: "error",
    subject: titleOf(leaf),
    message: `does not cover ${name}`,
    hint: wildcardAbove(leaf.dnsNames, name) ??
      `use a certificate that covers it; this one covers ${
        [...leaf.dnsNames, ...leaf.ipAddresses].join(", ") || "no name"
      }`,
  }));

const wildcardNarrow: Rule<ChainFacts> = ({ leaf }) =>
  leaf.dnsNames.map(normalizeName).filter((name) =>
    isUsableWildcard(name) && !coversName(leaf, name.slice("*.".length))
  ).map((name) => ({
    code: "WILDCARD_NARROW",
    severity: "note",
    subject: titleOf(leaf),
    message: `${name} covers neither ${name.slice("*.".length)} nor ${name.replace("*", "a.b")}`,
    hint: `add ${name.slice("*.".length)} if clients use it`,
  }));

const wildcardUnusable: Rule<ChainFacts> = ({ leaf }) =>
  leaf.dnsNames.map(normalizeName).filter((name) => name.includes("*") && !isUsableWildcard(name)).map((name) => ({
    code: "WILDCARD_UNUSABLE",
    severity: "warning",
    subject: titleOf(leaf),
    message: `clients ignore ${name}: a wildcard must be the whole first label, with two or more labels after it`,
    hint: "reissue it with a name such as *.example.com",
  }));

/** RFC 6125 section 6.4.3; browsers ignore wildcards for a whole top-level domain. */
function isUsableWildcard(name: string): boolean {
  return /^\*\.[^*.]+(?:\.[^*.]+)+$/.test(name);
}

/** Explains why a wildcard that looks as if it covered a name does not. */
function wildcardAbove(dnsNames: readonly string[], name: string): string | undefined {
  const wanted = normalizeName(name);
  const wildcard = dnsNames.map(normalizeName).find((each) =>
    each.startsWith("*.") && `.${wanted}`.endsWith(each.slice("*".length))
  );
  return wildcard && `${wildcard} covers one label only; reissue it with the name ${wanted}`;
}

/** The names that none of several certificates is for. */
export function uncoveredNames(leaves: readonly Certificate[], names: readonly string[]): string[] {
  const covered = new CoveredNames(names.length > 0 ? leaves : []);
  return names.filter((name) => !covered.has(name));
}

/** The rules about the names of the server's own certificate. */
export const NAME_RULES: readonly Rule<ChainFacts>[] = [noSan, nameNotCovered, wildcardNarrow, wildcardUnusable];
