import { createHash } from "node:crypto";
import type { Certificate } from "../x509/certificate.ts";
import { certifiedKeyDigestOf } from "./certified_key.ts";
import type { TlsConfig } from "./tls_config.ts";

/** SHA-256 of everything that a configuration serves with, so that two can be compared. Never shown. */
export function digestOf(config: TlsConfig): string {
  const { certifiedKeys, unknownName } = config;
  return sha256([certifiedKeys.map(certifiedKeyDigestOf), unknownName, settingsDigestOf(config)]);
}

/** SHA-256 of everything that a configuration serves with, except its certified keys and the choice between them. */
export function settingsDigestOf(config: TlsConfig): string {
  const { ciphers, ecdhCurve } = config;
  return sha256([sessionFacts(config), ciphers, ecdhCurve]);
}

/** SHA-256 of what a TLS session depends on: trust, ALPN and versions. Sessions may be resumed while it is the same. */
export function sessionDigestOf(config: TlsConfig): string {
  return sha256(sessionFacts(config));
}

function sessionFacts({ alpnProtocols, minVersion, maxVersion, clientAuth }: TlsConfig): unknown {
  return [clientAuth && [clientAuth.mode, pemOf(clientAuth.ca)], alpnProtocols, minVersion, maxVersion];
}

function pemOf(certificates: readonly Certificate[]): string[] {
  return certificates.map(({ pem }) => pem);
}

function sha256(facts: unknown): string {
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}
