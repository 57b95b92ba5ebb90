import { createHash, type X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { ClientAuth } from "./tls_config.ts";

const CLIENT_AUTH_USAGE = "1.3.6.1.5.5.7.3.2";

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
    const leaf = socket.getPeerX509Certificate();
    if (!leaf) {
      socket.authorized = false;
      return this.#auth.mode === "optional" ? undefined : "the client sent no certificate";
    }
    if (!socket.isSessionReused()) {
      if (!socket.authorized) return String(socket.authorizationError);
      this.#remember(leaf);
      return undefined;
    }
    if (!isValid(leaf)) return "the resumed session outlived the certificate of the client";
    const trusts = verified.get(leaf.fingerprint256);
    if (trusts?.has(this.#trust)) return undefined;
    if (!trusts) return "the resumed session is of a client that was never verified";
    if (!this.#leadsToTrust(leaf)) return "the resumed session is of a client that is no longer trusted";
    this.#remember(leaf);
    return undefined;
  }

  #remember({ fingerprint256 }: X509Certificate): void {
    const trusts = verified.get(fingerprint256) ?? new Set();
    // Moves it to the end of the map, whose start is forgotten first.
    verified.delete(fingerprint256);
    verified.set(fingerprint256, trusts.add(this.#trust));
    if (verified.size > MAX_REMEMBERED) verified.delete(verified.keys().next().value!);
  }

  /** The path of RFC 5280 section 6.1, as far as a change of the trust can change it. */
  #leadsToTrust(leaf: X509Certificate): boolean {
    if (leaf.keyUsage && !leaf.keyUsage.includes(CLIENT_AUTH_USAGE)) return false;
    const presented = [...issuersOf(leaf)];
    for (let at: X509Certificate | undefined = leaf; at;) {
      const current: X509Certificate = at;
      if (this.#auth.ca.some(({ x509 }) => hasIssued(x509, current))) return true;
      const next = presented.findIndex((issuer) => hasIssued(issuer, current));
      at = presented.splice(next, next < 0 ? 0 : 1)[0];
    }
    return false;
  }
}

function* issuersOf(leaf: X509Certificate): Generator<X509Certificate> {
  for (let at = leaf.issuerCertificate; at; at = at.issuerCertificate) yield at;
}

function hasIssued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && isValid(issuer) && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}

function isValid({ validFrom, validTo }: X509Certificate): boolean {
  const now = Date.now();
  return Date.parse(validFrom) <= now && now <= Date.parse(validTo);
}
