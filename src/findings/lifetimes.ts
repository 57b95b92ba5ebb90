import type { Certificate } from "../x509/certificate.ts";
import type { ChainFacts, Link } from "./chain_facts.ts";
import { type Rule, type Severity, titleOf } from "./finding.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** Renewal is late when less than a fifth of the life remains, and less than 30 days. */
const LATE_SHARE = 1 / 5;
const LATE_MS = 30 * DAY_MS;

/**
 * For how many days a public authority may issue, by the first day of the validity (CA/Browser Forum, Baseline
 * Requirements section 6.3.2, ballots 193, SC31 and SC-081).
 */
const LIMITS: readonly (readonly [from: number, days: number])[] = [
  [Date.UTC(2029, 2, 15), 47],
  [Date.UTC(2027, 2, 15), 100],
  [Date.UTC(2026, 2, 15), 200],
  [Date.UTC(2020, 8, 1), 398],
  [Date.UTC(2018, 2, 1), 825],
];

const expired: Rule<ChainFacts> = ({ path, rooted, at }) =>
  path.filter(({ certificate }) => certificate.notAfter.getTime() < at).map((link) => ({
    code: "EXPIRED",
    severity: severityOf(link, path, rooted?.path !== undefined),
    subject: titleOf(link.certificate),
    message: `expired ${spanText(at - link.certificate.notAfter.getTime())} ago`,
    hint: link === path[0] ? "renew it" : "download the current chain of the authority",
  }));

const notYetValid: Rule<ChainFacts> = ({ path, rooted, at }) =>
  path.filter(({ certificate }) => certificate.notBefore.getTime() > at).map((link) => ({
    code: "NOT_YET_VALID",
    severity: severityOf(link, path, rooted?.path !== undefined),
    subject: titleOf(link.certificate),
    message: `becomes valid in ${spanText(link.certificate.notBefore.getTime() - at)}`,
    hint: "wait, or check the clocks of this machine and of the authority",
  }));

const expiring: Rule<ChainFacts> = ({ path, at }) =>
  path.filter(({ certificate }) => isExpiring(certificate, at)).map(({ certificate }) => ({
    code: "EXPIRING",
    severity: "warning",
    subject: titleOf(certificate),
    message: `expires in ${spanText(certificate.notAfter.getTime() - at)}`,
    hint: certificate === path[0]!.certificate
      ? "renew it, and check the job that renews it"
      : "download the current chain of the authority",
  }));

const intermediateExpiresFirst: Rule<ChainFacts> = ({ leaf, path, at }) =>
  path.slice(1).filter(({ certificate: { notAfter }, parsed }) =>
    !parsed.isSelfSigned && notAfter < leaf.notAfter && notAfter.getTime() >= at
  ).map(({ certificate }) => ({
    code: "INTERMEDIATE_EXPIRES_FIRST",
    severity: "warning",
    subject: titleOf(certificate),
    message: `expires ${
      spanText(leaf.notAfter.getTime() - certificate.notAfter.getTime())
    } before the server certificate`,
    hint: "renew the server certificate before then, from another intermediate",
  }));

const lifetimeTooLong: Rule<ChainFacts> = ({ leaf, path: [first] }) => {
  if (first?.parsed.isSelfIssued) return []; // by no public authority
  const limit = LIMITS.find(([from]) => leaf.notBefore.getTime() >= from);
  // Both ends count (RFC 5280 section 4.1.2.5), and a part of a day counts as a day (Baseline Requirements 6.3.2).
  const lengthMs = leaf.notAfter.getTime() - leaf.notBefore.getTime() + 1000;
  if (!limit || lengthMs <= limit[1] * DAY_MS) return [];
  return [{
    code: "LIFETIME_TOO_LONG",
    severity: "warning",
    subject: titleOf(leaf),
    message: `valid for ${Math.ceil(lengthMs / DAY_MS)} days; browsers accept ${
      limit[1]
    } days at most from a public authority`,
    hint: "reissue it for a shorter time; for private authorities, Apple alone has a limit (825 days)",
  }];
};

/** Whether a valid certificate is near its end: later than it should have been renewed. */
export function isExpiring({ notBefore, notAfter }: Pick<Certificate, "notBefore" | "notAfter">, at: number): boolean {
  const remainingMs = notAfter.getTime() - at;
  const lateMs = Math.min((notAfter.getTime() - notBefore.getTime()) * LATE_SHARE, LATE_MS);
  return remainingMs >= 0 && remainingMs < lateMs;
}

/** A span of time for people: days from two days on, hours from two hours on, otherwise minutes. */
export function spanText(ms: number): string {
  if (ms >= 2 * DAY_MS) return `${Math.floor(ms / DAY_MS)} days`;
  if (ms >= 2 * HOUR_MS) return `${Math.floor(ms / HOUR_MS)} hours`;
  return `${Math.max(Math.floor(ms / 60_000), 0)} minutes`;
}

/** Certificates that clients do not need are a warning: a root, and a link that another path to a root avoids. */
function severityOf(link: Link, path: readonly Link[], isRooted: boolean): Severity {
  const isSentRoot = link !== path[0] && link.parsed.isSelfSigned;
  return isSentRoot || (isRooted && link !== path[0]) ? "warning" : "error";
}

/** The rules about the validity of certificates. */
export const LIFETIME_RULES: readonly Rule<ChainFacts>[] = [
  expired,
  notYetValid,
  expiring,
  intermediateExpiresFirst,
  lifetimeTooLong,
];
