import { Buffer } from "node:buffer";
import { TlsReloadError } from "../errors.ts";
import type { CertificateRevocationList } from "./crl.ts";
import type { PathCertificate } from "./path_certificate.ts";
import { TrustAnchors } from "./trust_anchors.ts";

/** The answer to certificates whose revocation cannot be looked up in a current list. */
interface RevocationPolicy {
  /** Whether certificates of an authority without a list are refused. */
  readonly requireCrl: boolean;
  /** Whether certificates of an authority are refused when its list is past its nextUpdate. */
  readonly staleCrl: "refuse" | "accept";
}

/** The time for which the lists permit a path, in milliseconds since 1970, or the reason why they refuse it. */
type RevocationResult =
  | { readonly notBefore: number; readonly notAfter: number; readonly reason?: undefined }
  | { readonly reason: string };

const NO_ISSUERS = new TrustAnchors([]);

/**
 * The verified revocation lists of a configuration.
 *
 * Invariant: every list was signed by an authority or an intermediate of the configuration, and counts for the
 * certificates that were issued with that name and key, and for no others. Of several lists of one authority, a serial
 * number in any of them is revoked, and it suffices that one of them is current.
 */
export class Revocation {
  readonly #policy: RevocationPolicy;
  readonly #listsByIssuer = new Map<string, CertificateRevocationList[]>();

  /**
   * Verifies lists.
   *
   * @throws {TlsReloadError} `CRL_INVALID` if none of the issuers has issued a list.
   */
  constructor(lists: readonly CertificateRevocationList[], issuers: TrustAnchors, policy: RevocationPolicy) {
    this.#policy = policy;
    for (const list of lists) {
      for (const key of issuersOf(list, issuers)) {
        const others = this.#listsByIssuer.get(key);
        if (others) others.push(list);
        else this.#listsByIssuer.set(key, [list]);
      }
    }
  }

  /** Whether there is a list of an authority. */
  hasListOf(issuer: PathCertificate): boolean {
    return this.#listsByIssuer.has(nameAndKeyOf(issuer));
  }

  /** Judges every certificate of a path, which ends at a self-signed one, by the lists of its issuer. */
  judge(path: readonly PathCertificate[], at: number): RevocationResult {
    let [notBefore, notAfter] = [-Infinity, Infinity];
    for (const [index, certificate] of path.entries()) {
      const issuer = path[index + 1] ?? certificate;
      const lists = this.#listsByIssuer.get(nameAndKeyOf(issuer));
      if (lists?.some((list) => list.isRevoked(serialNumberOf(certificate)))) {
        const subject = index === 0 ? "the certificate of the peer" : `the authority "${certificate.subject}"`;
        return { reason: `${subject} is revoked` };
      }
      if (!lists && this.#policy.requireCrl) {
        return { reason: `there is no revocation list of the authority "${issuer.subject}"` };
      }
      if (!lists || this.#policy.staleCrl === "accept") continue;
      const current = currentOf(lists, at);
      if (!current) return { reason: `the revocation list of the authority "${issuer.subject}" is not current` };
      notBefore = Math.max(notBefore, current.thisUpdate.getTime());
      notAfter = Math.min(notAfter, endOf(current));
    }
    return { notBefore, notAfter };
  }

  /** Whether these lists may refuse a path that the previous lists permit. */
  isStricterThan(previous: Revocation | undefined, at: number): boolean {
    const { requireCrl } = this.#policy;
    const before = previous ?? new Revocation([], NO_ISSUERS, { requireCrl: false, staleCrl: "refuse" });
    if (requireCrl && !before.#policy.requireCrl) return true;
    if (requireCrl && [...before.#listsByIssuer.keys()].some((key) => !this.#listsByIssuer.has(key))) return true;
    return [...this.#listsByIssuer].some(([key, lists]) => {
      const others = before.#listsByIssuer.get(key) ?? [];
      if (lists.some((list) => list.revokesBeyond(others))) return true;
      return this.#refusesStale(lists, at) && !before.#refusesStale(others, at);
    });
  }

  #refusesStale(lists: readonly CertificateRevocationList[], at: number): boolean {
    return lists.length > 0 && this.#policy.staleCrl === "refuse" && !currentOf(lists, at);
  }
}

/** The authorities that have issued a list, each by its name and key. */
function issuersOf(list: CertificateRevocationList, issuers: TrustAnchors): Set<string> {
  const candidates = issuers.bySubject(list.issuerKey);
  const keys = candidates.filter((issuer) => list.faultFor(issuer) === undefined).map(nameAndKeyOf);
  if (keys.length > 0) return new Set(keys);
  const [fault] = candidates.map((issuer) => list.faultFor(issuer));
  const reason = fault ?? "neither 'ca' nor 'intermediates' holds its authority";
  throw new TlsReloadError("CRL_INVALID", `Cannot use revocation list of "${list.issuer}": ${reason}`);
}

/** The list that is current, and stays current for the longest time. */
function currentOf(lists: readonly CertificateRevocationList[], at: number): CertificateRevocationList | undefined {
  const current = lists.filter((list) => list.isCurrentAt(new Date(at)));
  return current.sort((one, other) => endOf(other) - endOf(one))[0];
}

function endOf({ nextUpdate }: CertificateRevocationList): number {
  return nextUpdate?.getTime() ?? Number.MAX_VALUE;
}

/** Identifies an authority by its name and public key, which all its certificates share. */
function nameAndKeyOf({ subjectKey, structure }: PathCertificate): string {
  return `${subjectKey}\n${Buffer.from(structure.publicKey.encoded).toString("latin1")}`;
}

function serialNumberOf({ structure }: PathCertificate): string {
  return Buffer.from(structure.serialNumber).toString("hex");
}
