import { createHash } from "node:crypto";
import { type CertifiedKey, certifiedKeyDigestOf } from "./certified_key.ts";
import type { TlsSettings } from "./options.ts";

/** The part of a `TlsConfig` that digests are made of. */
interface ServedConfig extends TlsSettings {
  readonly certifiedKeys: readonly CertifiedKey[];
}

/** SHA-256 of everything that a configuration serves, private keys included, to compare two of them. Never shown. */
export function digestOf(config: ServedConfig): string {
  const { certifiedKeys, unknownName } = config;
  return sha256([certifiedKeys.map(certifiedKeyDigestOf), unknownName, settingsDigestOf(config)]);
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
  return sha256([chains, unknownName, settingsDigestOf(config)]);
}

/** SHA-256 of the trust in clients: the mode, and the authorities in any order. May be shown. */
export function trustDigestOf({ clientAuth }: ServedConfig): string {
  return sha256(clientAuth && [clientAuth.mode, clientAuth.ca.map(({ fingerprint256 }) => fingerprint256).sort()]);
}

/** Trust, ALPN and versions. */
function sessionFacts({ alpnProtocols, minVersion, maxVersion, clientAuth }: ServedConfig): unknown {
  return [clientAuth && [clientAuth.mode, clientAuth.ca.map(({ pem }) => pem)], alpnProtocols, minVersion, maxVersion];
}

function sha256(facts: unknown): string {
  return createHash("sha256").update(JSON.stringify(facts) ?? "none").digest("hex");
}
