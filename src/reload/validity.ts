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
  let validFrom: Date | undefined;
  for (const { leaf } of next.certifiedKeys) {
    const replaced = leaf === next.leaf ? current.leaf : findReplaced(leaf, current);
    const from = replaced && requireNoWorse(leaf, replaced, pendingLimitMs);
    if (from && (validFrom === undefined || from > validFrom)) validFrom = from;
  }
  return validFrom;
}

/** The certificate in use for the same names. */
function findReplaced(leaf: Certificate, { certifiedKeys }: TlsConfig): Certificate | undefined {
  const names = namesOf(leaf);
  return certifiedKeys.find((certifiedKey) => namesOf(certifiedKey.leaf) === names)?.leaf;
}

function namesOf({ dnsNames, ipAddresses }: Certificate): string {
  return [...dnsNames, ...ipAddresses].sort().join();
}

function requireNoWorse(next: Certificate, current: Certificate, pendingLimitMs: number): Date | undefined {
  const now = new Date(Date.now());
  if (next.isValidAt(now) || !current.isValidAt(now)) return undefined;
  const { notBefore, notAfter } = next;
  const aheadMs = notBefore.getTime() - now.getTime();
  if (aheadMs > 0 && aheadMs <= pendingLimitMs) return notBefore;
  const [code, reason] = notAfter < now
    ? ["CERTIFICATE_EXPIRED", `it has expired: ${notAfter.toISOString()}`] as const
    : ["CERTIFICATE_NOT_YET_VALID", `it is not yet valid: ${notBefore.toISOString()}`] as const;
  throw new TlsReloadError(code, `Cannot replace a valid certificate by another: ${reason}`);
}
