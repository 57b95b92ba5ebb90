import { createHash } from "node:crypto";
import { type CertifiedKey, certifiedKeyDigestOf } from "./certified_key.ts";
import type { TlsSettings } from "./settings.ts";

/** The part of a `TlsConfig` that digests are made of. `tls_config.ts` imports this file, which cannot import it back. */
interface ServedConfig extends TlsSettings {
  readonly certifiedKeys: readonly CertifiedKey[];
}

/** SHA-256 of everything that a configuration serves, private keys included, to compare two of them. Never shown. */
export function digestOf(config: ServedConfig): string {
  const { certifiedKeys, unknownName } = config;
  const facts = [certifiedKeys.map(certifiedKeyDigestOf), unknownName, settingsDigestOf(config)];
  return sha256([...facts, revocationFacts(config)]);
}

/** SHA-256 of everything that a configuration serves except its certified keys and the choice between them. */
export function settingsDigestOf(config: ServedConfig): string {
  const { ciphers, ecdhCurve } = config;
  return sha256([sessionFacts(config), ciphers, ecdhCurve]);
}

/** SHA-256 of everything that a TLS session depends on. Sessions may be resumed as long as it stays the same. */
export function sessionDigestOf(config: ServedConfig): string {
  return sha256(sessionFacts(config));
}

/** SHA-256 of everything that a configuration serves, without the private keys. May be shown. */
export function configDigestOf(config: ServedConfig): string {
  const { certifiedKeys, unknownName } = config;
  const chains = certifiedKeys.map(({ chain }) => chain.map(({ fingerprint256 }) => fingerprint256));
  return sha256([chains, unknownName, settingsDigestOf(config), revocationFacts(config)]);
}

/** SHA-256 of the trust in clients: the mode, and authorities and revocation lists in any order. May be shown. */
export function trustDigestOf(config: ServedConfig): string {
  const { clientAuth } = config;
  return sha256(clientAuth && [clientAuth.mode, fingerprintsOf(clientAuth.ca), revocationFacts(config)]);
}

/**
 * Everything that decides which clients are revoked. Contexts and sessions do not depend on it, because each client is
 * looked up when it connects or resumes.
 */
function revocationFacts({ clientAuth }: ServedConfig): unknown {
  if (!clientAuth) return undefined;
  const { crl, requireCrl, staleCrl, intermediates } = clientAuth;
  return [fingerprintsOf(crl), requireCrl, staleCrl, fingerprintsOf(intermediates)];
}

function fingerprintsOf(all: readonly { readonly fingerprint256: string }[]): string[] {
  return all.map(({ fingerprint256 }) => fingerprint256).sort();
}

/** Trust, ALPN and versions. */
function sessionFacts({ alpnProtocols, minVersion, maxVersion, clientAuth }: ServedConfig): unknown {
  return [clientAuth && [clientAuth.mode, clientAuth.ca.map(({ pem }) => pem)], alpnProtocols, minVersion, maxVersion];
}

function sha256(facts: unknown): string {
  return createHash("sha256").update(JSON.stringify(facts) ?? "none").digest("hex");
}
