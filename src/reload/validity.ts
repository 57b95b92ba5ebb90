import type { TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError } from "../errors.ts";
import type { Certificate } from "../x509/certificate.ts";

/**
 * Decides whether a configuration may replace the current one. A certificate that has expired or is not yet valid must
 * not replace a valid certificate for the same names.
 *
 * @returns The moment to wait for, if a validity begins within the limit.
 * @throws {TlsReloadError} `CERTIFICATE_EXPIRED`, or `CERTIFICATE_NOT_YET_VALID` beyond the limit.
 */
export function requireReplaceable(next: TlsConfig, current: TlsConfig, pendingLimitMs: number): Date | undefined {
  const now = new Date(Date.now());
  const unchanged = new Set(current.certifiedKeys);
  const outside = next.certifiedKeys.filter(({ leaf }) => !leaf.isValidAt(now));
  const doubtful = outside.filter((key) => key.leaf === next.leaf || !unchanged.has(key)).map(({ leaf }) => leaf);
  // Usually no certificate of thousands is, and then nothing is looked up.
  if (doubtful.length === 0) return undefined;
  const served = leavesByNames(current);
  let validFrom: Date | undefined;
  for (const leaf of doubtful) {
    const replaced = leaf === next.leaf ? current.leaf : served.get(namesOf(leaf));
    const from = replaced?.isValidAt(now) ? requirePending(leaf, now, pendingLimitMs) : undefined;
    if (from && (validFrom === undefined || from > validFrom)) validFrom = from;
  }
  return validFrom;
}

/** The certificates in use by their names, the first of the same names. */
function leavesByNames({ certifiedKeys }: TlsConfig): ReadonlyMap<string, Certificate> {
  return new Map(certifiedKeys.map(({ leaf }) => [namesOf(leaf), leaf] as const).reverse());
}

function namesOf({ dnsNames, ipAddresses }: Certificate): string {
  return [...dnsNames, ...ipAddresses].sort().join();
}

/** The moment at which a certificate becomes valid, if it is within the limit. */
function requirePending({ notBefore, notAfter }: Certificate, now: Date, pendingLimitMs: number): Date {
  const aheadMs = notBefore.getTime() - now.getTime();
  if (aheadMs > 0 && aheadMs <= pendingLimitMs) return notBefore;
  const [code, reason] = notAfter < now
    ? ["CERTIFICATE_EXPIRED", `it has expired: ${notAfter.toISOString()}`] as const
    : ["CERTIFICATE_NOT_YET_VALID", `it is not yet valid: ${notBefore.toISOString()}`] as const;
  throw new TlsReloadError(code, `Cannot replace a valid certificate by another: ${reason}`);
}
