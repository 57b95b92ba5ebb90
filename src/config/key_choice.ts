import { keyKindOf } from "./key_kind.ts";
import type { Named } from "./server_names.ts";

/** The abilities of a client, from its ClientHello. */
export interface ClientAbilities {
  /** The versions of TLS that the client offers, in the form of `getProtocol()`. */
  readonly versions: readonly string[];
  /**
   * The signature algorithms, as numbers of the IANA registry `TLS SignatureScheme`; empty if the client does not send
   * any.
   */
  readonly signatureAlgorithms: readonly number[];
  /** The cipher suites, as numbers of the IANA registry `TLS Cipher Suites`. */
  readonly cipherSuites: readonly number[];
  /** The groups, as numbers of the IANA registry `TLS Supported Groups`; empty if the client does not send any. */
  readonly supportedGroups: readonly number[];
}

/** The demands of a kind of key on clients. */
interface KeyKind {
  /** If a client can verify several kinds, the kind with the lowest rank is chosen. */
  readonly rank: number;
  /** The signature algorithms, one of which a client of TLS 1.3 must offer (RFC 8446 section 4.2.3). */
  readonly tls13: ReadonlySet<number>;
  /** The same for TLS 1.2, whose ECDSA signature algorithms do not name a curve (RFC 8422 section 5.1.1). */
  readonly tls12: ReadonlySet<number>;
  /** The cipher suites, one of which a client of TLS 1.2 must offer. */
  readonly suites: ReadonlySet<number>;
  /** The group that a client of TLS 1.2 must offer, if it offers groups. */
  readonly group?: number;
}

/** ECDHE_ECDSA with AES, ChaCha20, ARIA and Camellia. */
const ECDSA_SUITES = new Set([
  ...[0xc009, 0xc00a, 0xc023, 0xc024, 0xc02b, 0xc02c, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xcca9],
  ...[0xc048, 0xc049, 0xc05c, 0xc05d, 0xc072, 0xc073, 0xc086, 0xc087],
]);
/** ECDHE_RSA, DHE_RSA and RSA with the same ciphers. */
const RSA_SUITES = new Set([
  ...[0xc013, 0xc014, 0xc027, 0xc028, 0xc02f, 0xc030, 0xcca8, 0xc04c, 0xc04d, 0xc060, 0xc061, 0xc076, 0xc077, 0xc08a],
  ...[0xc08b, 0x0033, 0x0039, 0x0067, 0x006b, 0x009e, 0x009f, 0xccaa, 0xc09e, 0xc09f, 0xc0a2, 0xc0a3],
  ...[0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d, 0xc09c, 0xc09d, 0xc0a0, 0xc0a1],
]);
const PSS = [0x0804, 0x0805, 0x0806];
const ECDSA_TLS_1_2 = new Set([0x0403, 0x0503, 0x0603, 0x0303, 0x0203]);
const ED25519 = new Set([0x0807]);

const ecdsa = (scheme: number, group: number): KeyKind => ({
  rank: 0,
  tls13: new Set([scheme]),
  tls12: ECDSA_TLS_1_2,
  suites: ECDSA_SUITES,
  group,
});

/** Every kind of key that a configuration can hold, by the name of its curve or type. */
const KINDS: Readonly<Record<string, KeyKind>> = {
  "P-256": ecdsa(0x0403, 23),
  "P-384": ecdsa(0x0503, 24),
  "P-521": ecdsa(0x0603, 25),
  "ed25519": { rank: 1, tls13: ED25519, tls12: ED25519, suites: ECDSA_SUITES },
  "rsa": {
    rank: 2,
    tls13: new Set(PSS),
    tls12: new Set([...PSS, 0x0401, 0x0501, 0x0601, 0x0301, 0x0201]),
    suites: RSA_SUITES,
  },
};

/** A client that can verify every kind of key. */
export const ABLE_CLIENT: ClientAbilities = {
  versions: ["TLSv1.3", "TLSv1.2"],
  signatureAlgorithms: Object.values(KINDS).flatMap(({ tls13, tls12 }) => [...tls13, ...tls12]),
  cipherSuites: [...ECDSA_SUITES, ...RSA_SUITES],
  supportedGroups: [],
};

/**
 * Chooses one of the keys of a name. Prefers, in this order: keys that the client can verify; keys whose certificate is
 * valid; ECDSA before Ed25519 before RSA; the first key. If the client cannot verify any of them, its handshake fails.
 */
export function chooseKey<Key extends Named>(
  keys: readonly Key[],
  client: ClientAbilities,
  maxVersion: string = "TLSv1.3",
  at?: Date,
): Key {
  // Most names have one key, and then its kind does not matter.
  if (keys.length === 1) return keys[0]!;
  const moment = at ?? new Date();
  const version = maxVersion === "TLSv1.3" && client.versions.includes("TLSv1.3") ? "TLSv1.3" : "TLSv1.2";
  // Each criterion outweighs all later ones.
  const costOf = ({ chain: [leaf] }: Key) => {
    // A configuration cannot hold other kinds.
    const kind = KINDS[keyKindOf(leaf!)]!;
    return (canVerify(client, kind, version) ? 0 : 100) + (leaf!.isValidAt(moment) ? 0 : 10) + kind.rank;
  };
  const ranked = keys.map((key) => ({ key, cost: costOf(key) })).sort((one, other) => one.cost - other.cost);
  return ranked[0]!.key;
}

function canVerify(client: ClientAbilities, kind: KeyKind, version: "TLSv1.2" | "TLSv1.3"): boolean {
  const { signatureAlgorithms, cipherSuites, supportedGroups } = client;
  if (version === "TLSv1.3") return signatureAlgorithms.some((scheme) => kind.tls13.has(scheme));
  // RFC 5246 section 7.4.1.4.1 and RFC 8422 section 4: a missing extension means all that the suites need.
  const hasScheme = signatureAlgorithms.length === 0 || signatureAlgorithms.some((scheme) => kind.tls12.has(scheme));
  const hasGroup = kind.group === undefined || supportedGroups.length === 0 || supportedGroups.includes(kind.group);
  return hasScheme && hasGroup && cipherSuites.some((suite) => kind.suites.has(suite));
}
