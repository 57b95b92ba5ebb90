import { canonicalName } from "./canonical_name.ts";
import type { Certificate } from "./certificate.ts";
import { readStructure } from "./certificate_structure.ts";
import { PathCertificate } from "./path_certificate.ts";

/** A certificate that is not parsed yet. */
type Unparsed = Pick<PathCertificate, "der" | "fingerprint256">;

/** An authority, as far as it takes to find it. */
interface Entry extends Unparsed {
  readonly subjectKey: string;
  readonly issuerKey: string;
}

/**
 * The authorities of a configuration, found by name in one step.
 *
 * Invariant: an authority counts once. It is parsed when its name is first asked for; one that cannot be parsed is left
 * out, because it can issue for nobody.
 */
export class TrustAnchors {
  readonly #fingerprints = new Set<string>();
  readonly #entries: readonly Entry[];
  readonly #bySubject: ReadonlyMap<string, readonly Entry[]>;
  readonly #parsed = new Map<string, readonly PathCertificate[]>();
  #hasCycle: boolean | undefined;

  /**
   * Sorts authorities by name.
   *
   * @param certificates The authorities.
   */
  constructor(certificates: Iterable<Unparsed>) {
    this.#entries = [...certificates].filter(({ fingerprint256 }) => {
      const isNew = !this.#fingerprints.has(fingerprint256);
      this.#fingerprints.add(fingerprint256);
      return isNew;
    }).flatMap((certificate) => readably(() => entryOf(certificate)));
    this.#bySubject = Map.groupBy(this.#entries, ({ subjectKey }) => subjectKey);
  }

  /** The authorities of a name, in the order in which they were given. */
  bySubject(key: string): readonly PathCertificate[] {
    let parsed = this.#parsed.get(key);
    if (!parsed) {
      const entries = this.#bySubject.get(key) ?? [];
      parsed = entries.flatMap(({ der, fingerprint256 }) => readably(() => new PathCertificate(der, fingerprint256)));
      if (entries.length > 0) this.#parsed.set(key, parsed);
    }
    return parsed;
  }

  /** Whether a certificate is one of them. */
  has({ fingerprint256 }: Pick<PathCertificate, "fingerprint256">): boolean {
    return this.#fingerprints.has(fingerprint256);
  }

  /** Their SHA-256 fingerprints. */
  get fingerprints(): ReadonlySet<string> {
    return this.#fingerprints;
  }

  /** Whether some of them have issued each other, as bridges between authorities do. Takes linear time, once. */
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

/** One value, or none if it cannot be read. */
function readably<T>(read: () => T): T[] {
  try {
    return [read()];
  } catch {
    return [];
  }
}

function hasCycle(entries: readonly Entry[]): boolean {
  const issued = entries.filter(({ subjectKey, issuerKey }) => subjectKey !== issuerKey);
  const byIssuer = Map.groupBy(issued, ({ issuerKey }) => issuerKey);
  // How many certificates of a name are left whose issuer may lead into a cycle.
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
