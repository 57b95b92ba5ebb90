import { keyTypeOf } from "../config/key_kind.ts";
import type { TlsConfig } from "../config/tls_config.ts";

/** The added and the removed values. */
export interface Change {
  /** Values that the previous configuration did not have. */
  readonly added: readonly string[];
  /** Values that the new configuration does not have. */
  readonly removed: readonly string[];
}

/**
 * What a swap has changed beside validity and serial numbers: nothing of this at a plain renewal. Another host's
 * certificate, or that of a test authority, shows here.
 */
export interface SwapChanges {
  /** The DNS names and addresses that there are certificates for. */
  readonly names?: Change;
  /** The types of the keys, such as `rsa 2048` and `P-256`. */
  readonly keyTypes?: Change;
  /** The issuers of the server certificates. */
  readonly issuers?: Change;
  /** The authorities of clients, as subject and fingerprint. */
  readonly authorities?: Change;
  /** The revocation lists of clients, as issuer and number, or fingerprint where a list has no number. */
  readonly revocationLists?: Change;
}

/** The part of a `TlsConfig` that changes are taken from. */
type Parts = Pick<TlsConfig, "certifiedKeys" | "clientAuth">;

const FACTS: { readonly [Name in keyof SwapChanges]-?: (parts: Parts) => string[] } = {
  names: ({ certifiedKeys }) => certifiedKeys.flatMap(({ leaf }) => [...leaf.dnsNames, ...leaf.ipAddresses]),
  keyTypes: ({ certifiedKeys }) => certifiedKeys.map(({ leaf }) => keyTypeOf(leaf)),
  issuers: ({ certifiedKeys }) => certifiedKeys.map(({ leaf }) => leaf.issuer),
  authorities: ({ clientAuth }) =>
    clientAuth?.ca.map(({ subject, fingerprint256 }) => `${subject} ${fingerprint256}`) ?? [],
  revocationLists: ({ clientAuth }) =>
    clientAuth?.crl.map(({ issuer, crlNumber, fingerprint256 }) => `${issuer} ${crlNumber ?? fingerprint256}`) ?? [],
};

/** Compares the previous configuration with the next one. A fact that is the same is absent. */
export function changesOf(previous: TlsConfig, next: TlsConfig): SwapChanges {
  // Of thousands of certified keys, few are replaced.
  const [before, after] = [new Set(previous.certifiedKeys), new Set(next.certifiedKeys)];
  const lost = { certifiedKeys: [...before.difference(after)], clientAuth: previous.clientAuth };
  const gained = { certifiedKeys: [...after.difference(before)], clientAuth: next.clientAuth };
  const kept = { certifiedKeys: [...after.intersection(before)], clientAuth: undefined };
  const changes = Object.entries(FACTS).flatMap(([name, factOf]) => {
    const [lostFacts, gainedFacts] = [new Set(factOf(lost)), new Set(factOf(gained))];
    if (lostFacts.symmetricDifference(gainedFacts).size === 0) return [];
    const keptFacts = new Set(factOf(kept));
    const added = [...gainedFacts.difference(lostFacts).difference(keptFacts)];
    const removed = [...lostFacts.difference(gainedFacts).difference(keptFacts)];
    return added.length + removed.length > 0 ? [[name, { added, removed }]] : [];
  });
  return Object.fromEntries(changes);
}
