import { requireOptions } from "../arguments.ts";
import { location, TlsReloadError } from "../errors.ts";
import { isAtLeast, type Severity, titleOf } from "../findings/finding.ts";
import { uncoveredNames } from "../findings/names.ts";
import { isServerName } from "../x509/server_name.ts";
import { findingsOf } from "./config_findings.ts";
import type { TlsConfig } from "./tls_config.ts";

/**
 * Conditions for a configuration, beside that it can serve. A configuration that does not meet them is refused with
 * `EXPECTATION_FAILED`, and the running configuration stays.
 */
export interface Expectation {
  /** The names that clients ask for: for each one there must be a certificate. */
  readonly names?: readonly string[] | undefined;
  /** How long every certificate that is sent must still be valid. */
  readonly minRemainingMs?: number | undefined;
  /** The worst finding that is accepted: `"warning"` refuses errors, `"note"` warnings as well. */
  readonly maxSeverity?: Severity | undefined;
}

const NAMES = ["names", "minRemainingMs", "maxSeverity"];
const SEVERITIES: readonly unknown[] = ["error", "warning", "note"];

/**
 * Refuses an invalid expectation.
 *
 * @throws {TypeError} If an option is unknown, or does not have one of its allowed values.
 */
export function requireExpectation(expect: Expectation): void {
  requireOptions("expect", expect, NAMES);
  const { names = [], minRemainingMs = 0, maxSeverity = "error" } = expect;
  if (!Array.isArray(names) || !names.every(isServerName)) {
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
 * Refuses a configuration that does not meet an expectation.
 *
 * @throws {TlsReloadError} `EXPECTATION_FAILED`, which names every condition that is not met.
 */
export async function requireExpected(config: TlsConfig, expect: Expectation): Promise<void> {
  const { path } = config.certifiedKeys[0]!;
  const worse = await badFindings(config, expect);
  const reasons = [...missingNames(config, expect), ...shortLives(config, expect), ...worse];
  if (reasons.length === 0) return;
  const message = `Cannot use TLS config${location({ path })}: it is not what is expected: ${reasons.join("; ")}`;
  throw new TlsReloadError("EXPECTATION_FAILED", message, { path });
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

async function badFindings(config: TlsConfig, { maxSeverity = "error" }: Expectation): Promise<string[]> {
  if (maxSeverity === "error") return [];
  return (await findingsOf(config))
    .filter(({ severity }) => isAtLeast(severity, maxSeverity) && severity !== maxSeverity)
    .map(({ code, subject, message }) => `${code} of "${subject}": ${message}`);
}
