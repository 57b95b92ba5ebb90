import type { Certificate } from "./certificate.ts";
import { readStructure } from "./certificate_structure.ts";
import { canonicalName } from "./distinguished_name.ts";
import { PathCertificate, readable } from "./path_certificate.ts";

/** A certificate that is not parsed yet. */
type Unparsed = Pick<PathCertificate, "der" | "fingerprint256">;

/** An authority with the names that it is found by. */
interface Entry extends Unparsed {
  readonly subjectKey: string;
  readonly issuerKey: string;
}

/**
 * The authorities of a configuration, by their subjects.
 *
 * Invariant: each authority counts once. It is parsed when its name is first looked up. An authority that cannot be
 * parsed is left out, so it cannot be the end of a path.
 */
export class TrustAnchors {
  readonly #fingerprints = new Set<string>();
  readonly #entries: readonly Entry[];
  readonly #bySubject: ReadonlyMap<string, readonly Entry[]>;
  readonly #parsed = new Map<string, readonly PathCertificate[]>();
  #hasCycle: boolean | undefined;

  /** Groups authorities by their subjects. */
  constructor(certificates: Iterable<Unparsed>) {
    const entries: Entry[] = [];
    for (const certificate of certificates) {
      if (this.#fingerprints.has(certificate.fingerprint256)) continue;
      this.#fingerprints.add(certificate.fingerprint256);
      entries.push(...readable(() => entryOf(certificate)));
    }
    this.#entries = entries;
    this.#bySubject = Map.groupBy(entries, ({ subjectKey }) => subjectKey);
  }

  /** The authorities with a subject, in their order. */
  bySubject(key: string): readonly PathCertificate[] {
    let parsed = this.#parsed.get(key);
    if (!parsed) {
      const entries = this.#bySubject.get(key) ?? [];
      parsed = entries.flatMap(({ der, fingerprint256 }) => readable(() => new PathCertificate(der, fingerprint256)));
      if (entries.length > 0) this.#parsed.set(key, parsed);
    }
    return parsed;
  }

  /** Whether a certificate is one of the authorities. */
  has({ fingerprint256 }: Pick<PathCertificate, "fingerprint256">): boolean {
    return this.#fingerprints.has(fingerprint256);
  }

  /** The SHA-256 fingerprints of all authorities. */
  get fingerprints(): ReadonlySet<string> {
    return this.#fingerprints;
  }

  /** Whether some authorities have issued each other, like bridge authorities. Takes linear time, once. */
  get hasCycle(): boolean {
    this.#hasCycle ??= hasCycle(this.#entries);
    return this.#hasCycle;
  }
}

/** The certificates of a configuration as trust anchors. */
export function trustAnchorsOf(certificates: readonly Certificate[]): TrustAnchors {
  return new TrustAnchors(certificates.map(({ x509: { raw: der }, fingerprint256 }) => ({ der, fingerprint256 })));
}

function entryOf({ der, fingerprint256 }: Unparsed): Entry {
  const { subject, issuer } = readStructure(der);
  const keyOf = (name: typeof subject) => canonicalName(name).join("");
  return { der, fingerprint256, subjectKey: keyOf(subject), issuerKey: keyOf(issuer) };
}

/**
 * The algorithm of Kahn: removes the certificates that a name outside of all cycles has issued, until none is left.
 * Certificates that remain are part of a cycle, or issued below one.
 */
function hasCycle(entries: readonly Entry[]): boolean {
  const issued = entries.filter(({ subjectKey, issuerKey }) => subjectKey !== issuerKey);
  const byIssuer = Map.groupBy(issued, ({ issuerKey }) => issuerKey);
  /** The number of remaining certificates of each name. */
  const remainingOf = new Map<string, number>();
  for (const { subjectKey } of issued) remainingOf.set(subjectKey, (remainingOf.get(subjectKey) ?? 0) + 1);
  const outside = [...byIssuer.keys()].filter((name) => !remainingOf.has(name));
  let remaining = issued.length;
  for (let name = outside.pop(); name !== undefined; name = outside.pop()) {
    for (const { subjectKey } of byIssuer.get(name) ?? []) {
      remaining--;
      const count = remainingOf.get(subjectKey)! - 1;
      remainingOf.set(subjectKey, count);
      if (count === 0) outside.push(subjectKey);
    }
  }
  return remaining > 0;
}
