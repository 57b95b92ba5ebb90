import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import { PathCertificate } from "../x509/path_certificate.ts";

/** How many certificates of a client are read. */
const MAX_CHAIN = 32;
/** How many parsed certificates are kept: those of intermediate authorities come with every client. */
const MAX_PARSED = 100;

/** Certificates that clients have sent beside their own, by their fingerprint; the latest stand last. */
const parsed = new Map<string, PathCertificate>();

/** What a runtime shows of the certificates that a client has sent beside its own. */
export interface SentBeside {
  /** Those that can be read, in the order of the runtime, with authorities of the configuration among them. */
  readonly certificates: readonly PathCertificate[];
  /** Whether the runtime shows nothing at all, as some versions of Node do. */
  readonly isHidden: boolean;
}

/** A certificate as runtimes show it. */
interface Shown {
  readonly raw: Uint8Array;
  readonly fingerprint256: string;
}

/**
 * Reads what a client has sent beside its own certificate, in a full handshake.
 *
 * @param secure The connection.
 * @param hasCycle Whether authorities of the configuration have issued each other: `getPeerCertificate(true)` of Deno
 * follows them without end.
 */
export function sentBeside(secure: TLSSocket, hasCycle: boolean): SentBeside {
  const shown: Shown[] = [];
  let isReadable = true;
  try {
    for (const each of hasCycle ? publicChainOf(secure) : detailedChainOf(secure)) shown.push(each);
  } catch {
    // Deno cannot read each certificate that a client may send. The client gets no advantage from it.
    isReadable = false;
  }
  const certificates = shown.slice(0, MAX_CHAIN).flatMap(({ raw, fingerprint256 }) => parse(raw, fingerprint256));
  return { certificates, isHidden: isReadable && shown.length === 0 };
}

function detailedChainOf(secure: TLSSocket): Iterable<Shown> {
  const chain = new Set<DetailedPeerCertificate>();
  let next: DetailedPeerCertificate | undefined = secure.getPeerCertificate(true)?.issuerCertificate;
  // An authority may be shown as its own issuer.
  for (; next?.raw && !chain.has(next); next = next.issuerCertificate) chain.add(next);
  return chain;
}

/** On Node 22 a caller of `getPeerCertificate(true)` gets no chain after this. */
function* publicChainOf(secure: TLSSocket): Iterable<Shown> {
  let next = secure.getPeerX509Certificate()?.issuerCertificate;
  for (; next; next = next.issuerCertificate) yield next;
}

/** None, if it cannot be parsed: clients send what they like. */
function parse(der: Uint8Array, fingerprint256: string): PathCertificate[] {
  let certificate = parsed.get(fingerprint256);
  try {
    certificate ??= new PathCertificate(der, fingerprint256);
  } catch {
    return [];
  }
  parsed.delete(fingerprint256);
  parsed.set(fingerprint256, certificate);
  if (parsed.size > MAX_PARSED) {
    const [oldest] = parsed.keys();
    parsed.delete(oldest!);
  }
  return [certificate];
}
