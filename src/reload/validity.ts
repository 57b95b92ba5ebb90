import { TlsReloadError } from "../errors.ts";
import type { Certificate } from "../x509/certificate.ts";

/**
 * Refuses a certificate out of its validity in place of one that is valid.
 *
 * @throws {TlsReloadError} `CERTIFICATE_EXPIRED` or `CERTIFICATE_NOT_YET_VALID`.
 */
export function requireNoWorse(next: Certificate, current: Certificate): void {
  const now = new Date();
  if (next.isValidAt(now) || !current.isValidAt(now)) return;
  const { notBefore, notAfter } = next;
  const [code, reason] = notAfter < now
    ? ["CERTIFICATE_EXPIRED", `it has expired: ${notAfter.toISOString()}`] as const
    : ["CERTIFICATE_NOT_YET_VALID", `it is not yet valid: ${notBefore.toISOString()}`] as const;
  throw new TlsReloadError(code, `Cannot replace a valid certificate by another: ${reason}`);
}
