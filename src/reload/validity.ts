import { TlsReloadError } from "../errors.ts";
import type { Certificate } from "../x509/certificate.ts";

/**
 * Judges whether a certificate may replace the current one: a valid certificate is not replaced by one out of its
 * validity.
 *
 * @param next The new certificate.
 * @param current The certificate in use.
 * @param pendingLimitMs How far ahead the validity may begin.
 * @returns The moment to wait for, if the validity of the new certificate begins within the limit.
 * @throws {TlsReloadError} `CERTIFICATE_EXPIRED`, or `CERTIFICATE_NOT_YET_VALID` beyond the limit.
 */
export function requireReplaceable(next: Certificate, current: Certificate, pendingLimitMs: number): Date | undefined {
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
