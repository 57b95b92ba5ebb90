import { revocationOf } from "../config/client_auth.ts";
import type { TlsConfig } from "../config/tls_config.ts";

/**
 * Whether a client that gets in with one configuration may be refused by another: an authority is missing there,
 * clients without a certificate are refused, or more is revoked. Then no connection may be accepted with the former any
 * more, even if the latter cannot serve yet.
 */
export function takesTrustAway(previous: TlsConfig, next: TlsConfig): boolean {
  const [before, after] = [previous.clientAuth, next.clientAuth];
  if (!after) return false;
  if (after.mode === "required" && before?.mode !== "required") return true;
  if (before && revocationOf(after)?.isStricterThan(revocationOf(before), Date.now())) return true;
  const trusted = new Set(after.ca.map(({ fingerprint256 }) => fingerprint256));
  return before?.ca.some(({ fingerprint256 }) => !trusted.has(fingerprint256)) ?? false;
}
