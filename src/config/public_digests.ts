import { createHash } from "node:crypto";
import { settingsDigestOf } from "./digests.ts";
import type { TlsConfig } from "./tls_config.ts";

/**
 * SHA-256 of what a configuration serves with, without its private keys: the same in every process that serves the same.
 * May be shown.
 */
export function configDigestOf(config: TlsConfig): string {
  const { certifiedKeys, unknownName } = config;
  const chains = certifiedKeys.map(({ chain }) => chain.map(({ fingerprint256 }) => fingerprint256));
  return sha256([chains, unknownName, settingsDigestOf(config)]);
}

/** SHA-256 of the trust in clients: the mode and the authorities, in any order. May be shown. */
export function trustDigestOf({ clientAuth }: TlsConfig): string {
  return sha256(clientAuth && [clientAuth.mode, clientAuth.ca.map(({ fingerprint256 }) => fingerprint256).sort()]);
}

function sha256(facts: unknown): string {
  return createHash("sha256").update(JSON.stringify(facts) ?? "none").digest("hex");
}
