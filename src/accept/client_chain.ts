import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import { PathCertificate } from "../x509/path_certificate.ts";

/** The maximum number of certificates that are read of one client. */
const MAX_CHAIN = 32;
/** The number of parsed certificates that are kept, because all clients send the same intermediate authorities. */
const MAX_PARSED = 100;

/** Parsed certificates that clients have sent beside their own, by fingerprint, the latest last. */
const parsed = new Map<string, PathCertificate>();

/** A certificate in the form in which runtimes show it. */
interface Shown {
  readonly raw: Uint8Array;
  readonly fingerprint256: string;
}

/**
 * Reads the certificates that a client has sent beside its own in a full handshake, in the order of the runtime.
 * Authorities of the configuration may be among them. Some versions of Node hide them: they show no certificate at all.
 *
 * @param hasCycle Whether authorities of the configuration have issued each other. `getPeerCertificate(true)` of Deno
 * would follow them endlessly.
 */
export function sentBeside(secure: TLSSocket, hasCycle: boolean) {
  const shown: Shown[] = [];
  let isReadable = true;
  try {
    for (const each of hasCycle ? publicChainOf(secure) : detailedChainOf(secure)) shown.push(each);
  } catch {
    // Deno cannot read every certificate that a client may send. A client gains nothing by such a certificate.
    isReadable = false;
  }
  const certificates = shown.slice(0, MAX_CHAIN).flatMap(({ raw, fingerprint256 }) => parse(raw, fingerprint256));
  return { certificates, isHidden: isReadable && shown.length === 0 };
}

function detailedChainOf(secure: TLSSocket): Iterable<Shown> {
  const chain = new Set<DetailedPeerCertificate>();
  let next: DetailedPeerCertificate | undefined = secure.getPeerCertificate(true)?.issuerCertificate;
  // A runtime may show an authority as its own issuer.
  for (; next?.raw && !chain.has(next); next = next.issuerCertificate) chain.add(next);
  return chain;
}

/** Afterwards `getPeerCertificate(true)` of Node 22 does not return the chain any more. */
function* publicChainOf(secure: TLSSocket): Iterable<Shown> {
  let next = secure.getPeerX509Certificate()?.issuerCertificate;
  for (; next; next = next.issuerCertificate) yield next;
}

/** Returns an empty list if the certificate cannot be parsed, because clients may send any bytes. */
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
