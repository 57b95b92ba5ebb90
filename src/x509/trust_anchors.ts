import type { Certificate } from "./certificate.ts";
import { PathCertificate } from "./path_certificate.ts";

/** The authorities of a configuration, found by name in one step. */
export class TrustAnchors {
  readonly #bySubject = new Map<string, PathCertificate[]>();
  readonly #fingerprints = new Set<string>();

  /**
   * Sorts authorities by name.
   *
   * @param certificates The authorities; those that are repeated count once.
   */
  constructor(certificates: Iterable<PathCertificate>) {
    for (const certificate of certificates) {
      const { fingerprint256, subjectKey } = certificate;
      if (this.#fingerprints.has(fingerprint256)) continue;
      this.#fingerprints.add(fingerprint256);
      const others = this.#bySubject.get(subjectKey);
      if (others) others.push(certificate);
      else this.#bySubject.set(subjectKey, [certificate]);
    }
  }

  /** The authorities of a name, in the order in which they were given. */
  bySubject(key: string): readonly PathCertificate[] {
    return this.#bySubject.get(key) ?? [];
  }

  /** Whether a certificate is one of them. */
  has({ fingerprint256 }: Pick<PathCertificate, "fingerprint256">): boolean {
    return this.#fingerprints.has(fingerprint256);
  }
}

/**
 * The certificates of a configuration as trust anchors.
 *
 * @param certificates The certificates. One that cannot be parsed is left out: it can issue for nobody.
 * @returns The anchors.
 */
export function trustAnchorsOf(certificates: readonly Certificate[]): TrustAnchors {
  return new TrustAnchors(certificates.flatMap(({ x509: { raw }, fingerprint256 }) => {
    try {
      return [new PathCertificate(raw, fingerprint256)];
    } catch {
      return [];
    }
  }));
}
