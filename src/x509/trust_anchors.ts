import { canonicalName } from "./canonical_name.ts";
import type { Certificate } from "./certificate.ts";
import { readStructure } from "./certificate_structure.ts";
import { PathCertificate } from "./path_certificate.ts";

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

  /**
   * Groups authorities by their subjects.
   *
   * @param certificates The authorities.
   */
  constructor(certificates: Iterable<Unparsed>) {
    this.#entries = [...certificates].filter(({ fingerprint256 }) => {
      const isNew = !this.#fingerprints.has(fingerprint256);
      this.#fingerprints.add(fingerprint256);
      return isNew;
    }).flatMap((certificate) => readable(() => entryOf(certificate)));
    this.#bySubject = Map.groupBy(this.#entries, ({ subjectKey }) => subjectKey);
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

/**
 * The certificates of a configuration as trust anchors.
 *
 * @param certificates The certificates.
 * @returns The anchors.
 */
export function trustAnchorsOf(certificates: readonly Certificate[]): TrustAnchors {
  return new TrustAnchors(certificates.map(({ x509: { raw: der }, fingerprint256 }) => ({ der, fingerprint256 })));
}

function entryOf({ der, fingerprint256 }: Unparsed): Entry {
  const { subject, issuer } = readStructure(der);
  const keyOf = (name: typeof subject) => canonicalName(name).join("");
  return { der, fingerprint256, subjectKey: keyOf(subject), issuerKey: keyOf(issuer) };
}

/** A list of one value; an empty list if the value cannot be read. */
function readable<T>(read: () => T): T[] {
  try {
    return [read()];
  } catch {
    return [];
  }
}

function hasCycle(entries: readonly Entry[]): boolean {
  const issued = entries.filter(({ subjectKey, issuerKey }) => subjectKey !== issuerKey);
  const byIssuer = Map.groupBy(issued, ({ issuerKey }) => issuerKey);
  // The number of certificates of each name whose issuer may still be part of a cycle.
  const open = new Map<string, number>();
  for (const { subjectKey } of issued) open.set(subjectKey, (open.get(subjectKey) ?? 0) + 1);
  const closed = [...byIssuer.keys()].filter((name) => !open.has(name));
  let left = issued.length;
  for (let name = closed.pop(); name !== undefined; name = closed.pop()) {
    for (const { subjectKey } of byIssuer.get(name) ?? []) {
      left--;
      const count = open.get(subjectKey)! - 1;
      open.set(subjectKey, count);
      if (count === 0) closed.push(subjectKey);
    }
  }
  return left > 0;
}
