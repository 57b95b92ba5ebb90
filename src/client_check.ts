import { createHash, type X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { ClientAuth } from "./tls_config.ts";

/** How many clients are remembered; one that is forgotten has to make a full handshake. */
const MAX_REMEMBERED = 10_000;

/**
 * The clients that the runtime has verified in a full handshake: fingerprint of the client's certificate to the
 * trust that it was verified under. For the whole process, as the session tickets are on Deno.
 */
const verified = new Map<string, Set<string>>();

/**
 * Decides, after a handshake, whether a client may enter.
 *
 * In a full handshake the runtime has verified the client. In a resumed one nobody has: Deno accepts a session of
 * any server of the process and calls it authorised, whoever the client was. So a resumed client enters only if the
 * runtime verified that very certificate before, under this trust or under one whose chain leads to it as well.
 */
export class ClientCheck {
  readonly #auth: ClientAuth;
  readonly #trust: string;

  constructor(auth: ClientAuth) {
    this.#auth = auth;
    const fingerprints = auth.ca.map(({ fingerprint256 }) => fingerprint256).sort();
    this.#trust = createHash("sha256").update(fingerprints.join()).digest("base64");
  }

  /** Why the client must not enter, or `undefined` if it may. */
  refusal(socket: TLSSocket): string | undefined {
    // Not getPeerX509Certificate(): on Node 22 and 24 it takes the chain away from whoever asks after it.
    const { fingerprint256, valid_from, valid_to } = socket.getPeerCertificate() ?? {};
    if (!fingerprint256) {
      socket.authorized = false;
      return this.#auth.mode === "optional" ? undefined : "the client sent no certificate";
    }
    if (!socket.isSessionReused()) {
      if (!socket.authorized) return String(socket.authorizationError);
      this.#remember(fingerprint256);
      return undefined;
    }
    if (!isNowBetween(valid_from, valid_to)) return "the resumed session outlived the certificate of the client";
    const trusts = verified.get(fingerprint256);
    if (trusts?.has(this.#trust)) return undefined;
    if (!trusts) return "the resumed session is of a client that was never verified";
    if (!this.#leadsToTrust(socket.getPeerX509Certificate())) {
      return "the resumed session is of a client that is no longer trusted";
    }
    this.#remember(fingerprint256);
    return undefined;
  }

  #remember(fingerprint256: string): void {
    const trusts = verified.get(fingerprint256) ?? new Set();
    // Moves it to the end of the map, whose start is forgotten first.
    verified.delete(fingerprint256);
    verified.set(fingerprint256, trusts.add(this.#trust));
    if (verified.size > MAX_REMEMBERED) verified.delete(verified.keys().next().value!);
  }

  /** The path of RFC 5280 section 6.1, as far as another trust can change it: the runtime has verified the rest. */
  #leadsToTrust(leaf: X509Certificate | undefined): boolean {
    const presented = [...issuersOf(leaf)];
    for (let current = leaf; current;) {
      const subject: X509Certificate = current;
      if (this.#auth.ca.some(({ x509 }) => hasIssued(x509, subject))) return true;
      const next = presented.findIndex((issuer) => hasIssued(issuer, subject));
      current = presented.splice(next, next < 0 ? 0 : 1)[0];
    }
    return false;
  }
}

function* issuersOf(leaf: X509Certificate | undefined): Generator<X509Certificate> {
  for (let issuer = leaf?.issuerCertificate; issuer; issuer = issuer.issuerCertificate) yield issuer;
}

function hasIssued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && isNowBetween(issuer.validFrom, issuer.validTo) && subject.checkIssued(issuer) &&
    subject.verify(issuer.publicKey);
}

function isNowBetween(notBefore: string, notAfter: string): boolean {
  const now = Date.now();
  return Date.parse(notBefore) <= now && now <= Date.parse(notAfter);
}
