import { defectOf, isNetscapeClient } from "./certificate_defects.ts";
import { KeyPurpose } from "./certificate_extensions.ts";
import type { KeyUsage } from "./extension.ts";
import { type ComparisonBudget, violationOf } from "./name_constraints.ts";
import { areSameBytes } from "./octets.ts";
import { fitsKey, type PathCertificate } from "./path_certificate.ts";
import { isVerified, signatureFault, weaknessOf } from "./signatures.ts";
import type { TrustAnchors } from "./trust_anchors.ts";

/** The use of a certificate. */
type Purpose = "clientAuth" | "serverAuth";

/** The conditions for a path. */
interface PathOptions {
  /** The moment at which every certificate must be valid, in milliseconds since 1970. */
  readonly at: number;
  /** The use of the first certificate. */
  readonly purpose: Purpose;
}

/** A path from a certificate to an authority, or the reason why there is none. */
export type PathResult =
  | { readonly path: readonly PathCertificate[]; readonly reason?: undefined }
  | { readonly path?: undefined; readonly reason: string };

/** The maximum length of a path, including both ends. The limits of the runtimes are 8 to 100. */
const MAX_LENGTH = 10;
/** The maximum number of certificates of a peer that are used. */
const MAX_INTERMEDIATES = 32;
/** The maximum number of attempts to use a certificate as an issuer. */
const MAX_STEPS = 1_000;
/** The maximum number of new signatures to verify. One takes up to a millisecond. */
const MAX_SIGNATURES = 32;
/** The maximum number of comparisons of names with constraints. They take about 20 ms. */
const MAX_COMPARISONS = 100_000;

/** The usages, one of which the first key needs. The same as in OpenSSL. */
const USAGES: Readonly<Record<Purpose, readonly KeyUsage[]>> = {
  clientAuth: ["digitalSignature", "keyAgreement"],
  serverAuth: ["digitalSignature", "keyAgreement", "keyEncipherment"],
};

/**
 * Finds a path from a certificate to a trust anchor that is valid by RFC 5280 section 6 and by OpenSSL: the anchor must
 * be self-signed, and its validity, purposes and constraints apply to itself as well.
 *
 * If several certificates may have issued another, the choice is that of OpenSSL: anchors come before certificates of
 * the peer. Of the latter, only the first valid one is tried. All anchors of one name are tried, so that the result
 * does not depend on their order in the configuration.
 *
 * @param intermediates Possible intermediate certificates, in the order of the peer. Unused ones are ignored.
 * @returns The path, leaf first, or the reason why there is none.
 */
export function findPath(
  leaf: PathCertificate,
  intermediates: readonly PathCertificate[],
  anchors: TrustAnchors,
  options: PathOptions,
): PathResult {
  const fault = leafFault(leaf, options);
  if (fault !== undefined) return { reason: `the certificate of the peer is refused: ${fault}` };
  if (anchors.has(leaf) && leaf.isSelfSigned) return { path: [leaf] };
  return new PathSearch(intermediates.slice(0, MAX_INTERMEDIATES), anchors, options).run(leaf);
}

/**
 * One search, depth first.
 *
 * Invariant: the limits of steps, signatures and comparisons apply to all paths of the search together.
 */
class PathSearch {
  readonly #intermediates: readonly PathCertificate[];
  readonly #anchors: TrustAnchors;
  readonly #options: PathOptions;
  readonly #budget: ComparisonBudget = { comparisons: MAX_COMPARISONS };
  #steps = MAX_STEPS;
  #signatures = MAX_SIGNATURES;
  /** The reason why the longest path that was tried ended. */
  #reason = "no authority of the configuration has issued the certificate of the peer";
  #reasonLength = 0;

  constructor(intermediates: readonly PathCertificate[], anchors: TrustAnchors, options: PathOptions) {
    this.#intermediates = intermediates;
    this.#anchors = anchors;
    this.#options = options;
  }

  run(leaf: PathCertificate): PathResult {
    const path = this.#extend([leaf]);
    return path ? { path } : { reason: this.#reason };
  }

  #extend(path: readonly PathCertificate[]): readonly PathCertificate[] | undefined {
    for (const issuer of this.#issuersOf(path)) {
      if (path.includes(issuer) || this.#hasTwinOf(path, issuer)) continue;
      const longer = [...path, issuer];
      const isEnd = this.#anchors.has(issuer) && issuer.isSelfSigned;
      const fault = this.#fault(path, issuer) ?? (isEnd ? constraintFault(longer, this.#budget) : undefined);
      if (fault !== undefined) {
        this.#noteFault(longer.length, fault);
        continue;
      }
      const found = isEnd ? longer : this.#extend(longer);
      if (found) return found;
    }
    return undefined;
  }

  /** The certificates that may have issued the last one: all such anchors, otherwise one certificate of the peer. */
  #issuersOf(path: readonly PathCertificate[]): PathCertificate[] {
    const { at } = this.#options;
    const child = path.at(-1)!;
    const mayIssue = (each: PathCertificate) =>
      child.namesIssuer(each) && fitsKey(child.signatureAlgorithm, each.publicKey);
    const preferred = (named: readonly PathCertificate[]) => {
      const eligible = named.filter(mayIssue);
      const valid = eligible.filter((each) => validityFault(each, at) === undefined);
      return valid.length > 0 ? valid : eligible;
    };
    const anchors = preferred(this.#anchors.bySubject(child.issuerKey));
    // Anchors at which the path ends come first.
    if (anchors.length > 0) {
      return anchors.toSorted((one, other) => Number(other.isSelfSigned) - Number(one.isSelfSigned));
    }
    // Certificates of the peer do not count above an anchor.
    if (path.length > 1 && this.#anchors.has(child)) return [];
    return preferred(this.#intermediates.filter(({ subjectKey }) => subjectKey === child.issuerKey)).slice(0, 1);
  }

  /** Whether the path contains an anchor with the same name and key. A path through both is a detour (RFC 4158). */
  #hasTwinOf(path: readonly PathCertificate[], { subjectKey, structure: { publicKey } }: PathCertificate): boolean {
    return path.slice(1).some((each) =>
      each.subjectKey === subjectKey && this.#anchors.has(each) &&
      areSameBytes(each.structure.publicKey.encoded, publicKey.encoded)
    );
  }

  /**
   * The reason why a certificate cannot extend a path as its issuer; `undefined` if there is none. Counts the limits
   * down.
   */
  #fault(path: readonly PathCertificate[], issuer: PathCertificate): string | undefined {
    const child = path.at(-1)!;
    const name = this.#anchors.has(issuer) ? `the authority ${issuer.subject}` : "an intermediate certificate";
    this.#steps--;
    if (this.#steps < 0) return "there are too many paths to be tried";
    const fault = issuerFault(path, issuer, this.#options);
    if (fault !== undefined) return `${name} is refused: ${fault}`;
    if (!isVerified(child, issuer)) {
      this.#signatures--;
      if (this.#signatures < 0) return "there are too many signatures to be verified";
    }
    const signature = signatureFault(child, issuer);
    return signature && `a certificate that names ${name} as its issuer is refused: ${signature}`;
  }

  /** Keeps the reason of the longest path, because it is the closest to a valid one. */
  #noteFault(length: number, reason: string): void {
    if (length <= this.#reasonLength) return;
    this.#reasonLength = length;
    this.#reason = reason;
  }
}

/** The reason why a certificate cannot be the first of a path; `undefined` if there is none. */
export function leafFault(leaf: PathCertificate, options: PathOptions): string | undefined {
  const fault = commonFault(leaf, options);
  if (fault !== undefined) return fault;
  const { keyUsage, subjectAltNames } = leaf.extensions;
  if (keyUsage && !USAGES[options.purpose].some((usage) => keyUsage.has(usage))) {
    return "its keyUsage does not let it authenticate";
  }
  if (options.purpose === "clientAuth" && !isNetscapeClient(leaf)) return "its nsCertType is not that of a client";
  return leaf.subjectKey === "" && !subjectAltNames?.length ? "it has no name" : undefined;
}

/** The reason why a certificate cannot issue the last one of a path; `undefined` if there is none. */
function issuerFault(path: readonly PathCertificate[], issuer: PathCertificate, options: PathOptions) {
  const fault = commonFault(issuer, options) ?? weaknessOf(issuer);
  if (fault !== undefined) return fault;
  const { basicConstraints, keyUsage } = issuer.extensions;
  if (issuer.structure.version !== 3) return "it is not of version 3";
  if (!basicConstraints?.isCa) return "it is not an authority";
  if (keyUsage && !keyUsage.has("keyCertSign")) return "its keyUsage does not let it sign certificates";
  if (issuer.subjectKey === "") return "it has no name";
  if (path.length >= MAX_LENGTH) return "the path is too long";
  // RFC 5280 section 4.2.1.9: self-issued certificates and the first one do not count.
  const between = path.slice(1).filter(({ isSelfIssued }) => !isSelfIssued).length;
  return between > (basicConstraints.maxPathLength ?? Infinity) ? "the path below it is too long" : undefined;
}

/** The reason why a certificate cannot be part of a path; `undefined` if there is none. */
function commonFault(certificate: PathCertificate, { at, purpose }: PathOptions): string | undefined {
  const fault = validityFault(certificate, at) ?? defectOf(certificate);
  if (fault !== undefined) return fault;
  const { extendedKeyUsage } = certificate.extensions;
  return extendedKeyUsage && !extendedKeyUsage.includes(KeyPurpose[purpose])
    ? `its extendedKeyUsage lacks ${purpose}`
    : undefined;
}

/** The last second does not count, as in OpenSSL. */
function validityFault({ notBefore, notAfter }: PathCertificate, at: number): string | undefined {
  if (at < notBefore) return "it is not yet valid";
  return at < notAfter ? undefined : "it has expired";
}

/** RFC 5280 section 6.1.4 (b) to (g): constraints apply to all certificates below, except self-issued intermediates. */
function constraintFault(path: readonly PathCertificate[], budget: ComparisonBudget): string | undefined {
  for (const [index, { extensions: { nameConstraints } }] of path.entries()) {
    if (!nameConstraints) continue;
    for (const [below, certificate] of path.slice(0, index).entries()) {
      if (below > 0 && certificate.isSelfIssued) continue;
      const violation = violationOf(certificate, nameConstraints, { isLeaf: below === 0, budget });
      if (violation !== undefined) return `a name constraint of an authority is violated: ${violation}`;
    }
  }
  return undefined;
}
