import type { Certificate } from "../x509/certificate.ts";
import { defectOf } from "../x509/certificate_defects.ts";
import { findPath, type PathResult } from "../x509/certification_path.ts";
import { fitsKey, type PathCertificate, pathCertificateOf } from "../x509/path_certificate.ts";
import { signatureFault } from "../x509/signatures.ts";
import { type TrustAnchors, trustAnchorsOf } from "../x509/trust_anchors.ts";

/** More than enough: a certificate has one issuer, or a few after an authority was renewed or cross-signed. */
const MAX_ISSUERS = 8;
/** The longest path that the verification of clients accepts, see `findPath()`. */
const MAX_PATH_LENGTH = 10;

/** A certificate in both forms: with the facts for people, and parsed for path validation. */
export interface Link {
  readonly certificate: Certificate;
  readonly parsed: PathCertificate;
}

/** The facts that the rules about a chain read. */
export interface ChainFacts {
  /** The server's own certificate. */
  readonly leaf: Certificate;
  /** The certificates, in the order of the file. */
  readonly chain: readonly Certificate[];
  /** The certificates that no path may contain, with the reason. */
  readonly defects: ReadonlyMap<Certificate, string>;
  /** From the leaf upwards, each certificate with its issuer after it; none if the leaf is defective. */
  readonly path: readonly Link[];
  /** The certificates that have issued nothing of the chain, and those that are repeated. */
  readonly unrelated: readonly Certificate[];
  /** The path from the leaf to one of the roots, or why there is none; `undefined` without roots. */
  readonly rooted: PathResult | undefined;
  /** The roots; `undefined` if they are not known. */
  readonly roots: TrustAnchors | undefined;
  /** The names that clients ask for. */
  readonly names: readonly string[];
  /** The moment, in milliseconds since 1970. */
  readonly at: number;
}

/** The circumstances in which clients meet a chain. */
interface ChainContext {
  /** The roots that clients trust. */
  readonly roots?: TrustAnchors | undefined;
  /** The names that clients ask for. */
  readonly names: readonly string[];
  /** The moment, in milliseconds since 1970. */
  readonly at: number;
}

/** Puts a chain in order, and looks for its end. It holds at least one certificate, the server's own first. */
export function chainFactsOf(chain: readonly Certificate[], context: ChainContext): ChainFacts {
  const defects = new Map<Certificate, string>();
  const links = new Map<string, Link>();
  for (const certificate of chain) {
    const { parsed, defect } = inspect(certificate);
    if (!parsed) defects.set(certificate, defect);
    else if (!links.has(parsed.fingerprint256)) links.set(parsed.fingerprint256, { certificate, parsed });
  }
  const [leaf] = chain as readonly [Certificate];
  const first = links.get(leaf.fingerprint256);
  const all = [...links.values()];
  const related = first ? relatedTo(first, all) : [];
  const known = new Set(related.map(({ certificate }) => certificate));
  return {
    leaf,
    chain,
    defects,
    path: first ? pathFrom(first, related) : [],
    unrelated: first ? chain.filter((each) => !known.has(each) && !defects.has(each)) : [],
    rooted: first && context.roots && rootedPath(first, related, context.roots, context.at),
    roots: context.roots,
    names: context.names,
    at: context.at,
  };
}

const anchorsBySource = new WeakMap<Iterable<Certificate>, TrustAnchors>();

/** The roots that clients trust, indexed once for each list or store. */
export function anchorsOf(roots: Iterable<Certificate>): TrustAnchors {
  const known = anchorsBySource.get(roots);
  if (known) return known;
  const anchors = trustAnchorsOf([...roots]);
  anchorsBySource.set(roots, anchors);
  return anchors;
}

/** A certificate as path validation sees it, or the reason why no path may contain it. */
type Inspection =
  | { readonly parsed: PathCertificate; readonly defect?: undefined }
  | { readonly parsed?: undefined; readonly defect: string };

/** Reads a certificate for path validation. */
export function inspect(certificate: Certificate): Inspection {
  try {
    const parsed = pathCertificateOf(certificate);
    const defect = defectOf(parsed);
    return defect === undefined ? { parsed } : { defect };
  } catch (error) {
    return { defect: (error as RangeError).message };
  }
}

/** The possible issuers of a certificate among others. Issuers whose signature it bears come first. */
function issuersOf({ parsed }: Link, others: readonly Link[]): Link[] {
  if (parsed.isSelfSigned) return [];
  const named = others.filter(({ parsed: other }) =>
    other !== parsed && other.subjectKey === parsed.issuerKey && parsed.namesIssuer(other) &&
    fitsKey(parsed.signatureAlgorithm, other.publicKey)
  ).slice(0, MAX_ISSUERS);
  if (named.length < 2) return named;
  const signers = named.filter((each) => signatureFault(parsed, each.parsed) === undefined);
  return [...signers, ...named.filter((each) => !signers.includes(each))];
}

/** A certificate with its issuers and their issuers, up to the last one. */
function relatedTo(first: Link, all: readonly Link[]): Link[] {
  const related = new Set([first]);
  for (const each of related) for (const issuer of issuersOf(each, all)) related.add(issuer);
  return [...related];
}

function pathFrom(first: Link, related: readonly Link[]): Link[] {
  const path = [first];
  while (path.length < MAX_PATH_LENGTH) {
    const [issuer] = issuersOf(path.at(-1)!, related.filter((each) => !path.includes(each)));
    if (!issuer) break;
    path.push(issuer);
  }
  return path;
}

function rootedPath(first: Link, related: readonly Link[], roots: TrustAnchors, at: number): PathResult {
  const intermediates = related.filter((each) => each !== first).map(({ parsed }) => parsed);
  return findPath(first.parsed, intermediates, roots, { at, purpose: "serverAuth" });
}
