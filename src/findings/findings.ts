import { AUTHORITY_RULES, type AuthorityFacts } from "./authorities.ts";
import { CHAIN_RULES } from "./chain.ts";
import type { ChainFacts } from "./chain_facts.ts";
import { CRL_RULES, type RevocationFacts } from "./crls.ts";
import { type Finding, rankOf, type Rule, type RuleFinding } from "./finding.ts";
import { KEY_RULES } from "./keys.ts";
import { LIFETIME_RULES } from "./lifetimes.ts";
import { NAME_RULES } from "./names.ts";

const RULES: readonly Rule<ChainFacts>[] = [...CHAIN_RULES, ...LIFETIME_RULES, ...NAME_RULES, ...KEY_RULES];

/** Finds the problems that clients have with a chain, the worst first. */
export function chainFindings(facts: ChainFacts, source: string | undefined): Finding[] {
  const findings = RULES.flatMap((rule) => rule(facts));
  // Another error is the likely reason why the path is refused, and explains it better.
  const others = findings.filter(({ code }) => code !== "PATH_REFUSED");
  const isExplained = others.some(({ severity }) => severity === "error");
  return sorted(isExplained ? others : findings, source);
}

/** Finds what is wrong with revocation lists, the worst first. */
export function crlFindings(facts: RevocationFacts, source: string | undefined): Finding[] {
  return sorted(CRL_RULES.flatMap((rule) => rule(facts)), source);
}

/** Finds what is wrong with the authorities of clients, the worst first. */
export function authorityFindings(facts: AuthorityFacts, source: string | undefined): Finding[] {
  return sorted(AUTHORITY_RULES.flatMap((rule) => rule(facts)), source);
}

function sorted(findings: readonly RuleFinding[], source: string | undefined): Finding[] {
  const worstFirst = findings.toSorted((one, other) => rankOf(other.severity) - rankOf(one.severity));
  return worstFirst.map((finding) => ({ ...finding, source }));
}
