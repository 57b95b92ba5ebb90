import { requireOptions } from "../arguments.ts";
import { location, TlsReloadError } from "../errors.ts";
import { anchorsOf, chainFactsOf } from "../findings/chain_facts.ts";
import { type Finding, isAtLeast, type Severity, titleOf } from "../findings/finding.ts";
import { uncoveredNames } from "../findings/names.ts";
import { authorityFindings, chainFindings, crlFindings } from "../findings/findings.ts";
import type { Certificate } from "../x509/certificate.ts";
import { crlsOf } from "./client_auth.ts";
import type { TlsConfig } from "./tls_config.ts";

/**
 * What a configuration must be, beside able to serve. One that is not is refused with `EXPECTATION_FAILED`, and the
 * running one stays.
 */
export interface Expectation {
  /** The names that clients ask for: for each one there must be a certificate. */
  readonly names?: readonly string[] | undefined;
  /** How long every certificate that is sent must still be valid. */
  readonly minRemainingMs?: number | undefined;
  /** The worst finding that is accepted: `"warning"` refuses errors, `"note"` warnings as well. */
  readonly maxSeverity?: Severity | undefined;
}

/** What `check()` and `expect` know beside a configuration. */
export interface FindingContext {
  /** The names that clients ask for. */
  readonly names?: readonly string[] | undefined;
  /** The roots that clients trust. */
  readonly roots?: Iterable<Certificate> | undefined;
  /** The moment. */
  readonly at?: Date | undefined;
}

const NAMES = ["names", "minRemainingMs", "maxSeverity"];
const SEVERITIES: readonly unknown[] = ["error", "warning", "note"];

/**
 * Refuses an expectation that is not one.
 *
 * @param expect What a user gave.
 * @throws {TypeError} If an option is unknown or is none of its allowed values.
 */
export function requireExpectation(expect: Expectation): void {
  requireOptions("expect", expect, NAMES);
  const { names = [], minRemainingMs = 0, maxSeverity = "error" } = expect;
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string" && name !== "")) {
    throw new TypeError("Cannot use TLS config: 'expect.names' must be a list of names");
  }
  if (!Number.isFinite(minRemainingMs) || minRemainingMs < 0) {
    throw new TypeError("Cannot use TLS config: 'expect.minRemainingMs' must be a number of milliseconds");
  }
  if (!SEVERITIES.includes(maxSeverity)) {
    throw new TypeError("Cannot use TLS config: 'expect.maxSeverity' must be error, warning or note");
  }
}

/**
 * Refuses a configuration that is not what is expected.
 *
 * @param config The configuration.
 * @param expect What it must be.
 * @throws {TlsReloadError} `EXPECTATION_FAILED`, which names everything that is not as expected.
 */
export function requireExpected(config: TlsConfig, expect: Expectation): void {
  const { path } = config.certifiedKeys[0]!;
  const reasons = [...missingNames(config, expect), ...shortLives(config, expect), ...badFindings(config, expect)];
  if (reasons.length === 0) return;
  const message = `Cannot use TLS config${location({ path })}: it is not what is expected: ${reasons.join("; ")}`;
  throw new TlsReloadError("EXPECTATION_FAILED", message, { path });
}

/**
 * Finds what clients will not like about a configuration.
 *
 * @param config The configuration.
 * @param context Names, roots and moment.
 * @returns The findings, in the order of the certified keys.
 */
export function findingsOf(config: TlsConfig, context: FindingContext = {}): Finding[] {
  const { names = [], roots, at = new Date() } = context;
  const missing = uncoveredNames(config.certifiedKeys.map(({ leaf }) => leaf), names);
  const chains = config.certifiedKeys.flatMap(({ chain, path }, index) => {
    // Names that no certificate is for are asked of the default.
    const facts = { names: index === 0 ? missing : [], roots: roots && anchorsOf(roots), at: +at };
    return chainFindings(chainFactsOf(chain, facts), path);
  });
  const { ca = [], intermediates = [] } = config.clientAuth ?? {};
  const crls = crlsOf(config.clientAuth);
  return [
    ...chains,
    ...authorityFindings({ authorities: ca, at: +at }, undefined),
    ...crlFindings({ crls, authorities: [...ca, ...intermediates], at: +at }, undefined),
  ];
}

function missingNames({ certifiedKeys }: TlsConfig, { names = [] }: Expectation): string[] {
  const missing = uncoveredNames(certifiedKeys.map(({ leaf }) => leaf), names);
  return missing.length > 0 ? [`no certificate is for ${missing.join(", ")}`] : [];
}

function shortLives({ certifiedKeys }: TlsConfig, { minRemainingMs }: Expectation): string[] {
  if (minRemainingMs === undefined) return [];
  const limit = Date.now() + minRemainingMs;
  return [...new Set(certifiedKeys.flatMap(({ chain }) => chain))]
    .filter(({ notAfter }) => notAfter.getTime() < limit)
    .map((certificate) => `"${titleOf(certificate)}" is valid only until ${certificate.notAfter.toISOString()}`);
}

function badFindings(config: TlsConfig, { maxSeverity = "error" }: Expectation): string[] {
  if (maxSeverity === "error") return [];
  return findingsOf(config)
    .filter(({ severity }) => isAtLeast(severity, maxSeverity) && severity !== maxSeverity)
    .map(({ code, subject, message }) => `${code} of "${subject}": ${message}`);
}
