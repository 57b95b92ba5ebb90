import { Socket } from "node:net";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import type { ClientAuth } from "../config/options.ts";
import { socketUnder } from "../node_internals.ts";
import type { Certificate } from "../x509/certificate.ts";
import { readCertificateFields } from "../x509/certificate_fields.ts";

/** How many clients a state remembers. A client that was forgotten has to make a full handshake. */
const MAX_REMEMBERED = 10_000;

/** What a full handshake has shown of a client. */
interface Verification {
  /** Fingerprints of authorities: while all of them are trusted, the client is. */
  readonly authorities: ReadonlySet<string>;
  /** When the first certificate of the client's path expires. Node 24 shows the leaf only. */
  readonly notAfter: number;
}

/**
 * The clients that were verified in full handshakes of one state, or of one attached server.
 *
 * Invariant: it holds at most 10,000 clients by the fingerprint of their certificate, the one that was away longest
 * first. It is never shared between servers: a client that one server has verified means nothing to another one, and
 * Deno lets a client resume the session of any server of the process.
 */
export class VerifiedClients {
  readonly #verifications = new Map<string, Verification>();

  /** What is known of a client. */
  get(fingerprint256: string): Verification | undefined {
    return this.#verifications.get(fingerprint256);
  }

  /** Remembers a client that has entered. */
  remember(fingerprint256: string, verification: Verification): void {
    this.#verifications.delete(fingerprint256);
    this.#verifications.set(fingerprint256, verification);
    if (this.#verifications.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#verifications.keys();
    this.#verifications.delete(oldest!);
  }
}

/**
 * Judges the clients of one configuration after their handshakes. This is the one place where a client is judged.
 *
 * Invariant: a client enters only if a full handshake has verified its certificate under authorities that this
 * configuration trusts now. In a full handshake the runtime verifies the client. In a resumed one no runtime does, so
 * the client must have been verified before.
 */
export class ClientVerification {
  readonly #auth: ClientAuth;
  readonly #verifiedClients: VerifiedClients;
  readonly #trusted: ReadonlySet<string>;
  readonly #hasIssuerCycle: boolean;

  constructor(auth: ClientAuth, verifiedClients: VerifiedClients) {
    this.#auth = auth;
    this.#verifiedClients = verifiedClients;
    this.#trusted = new Set(auth.ca.map(({ fingerprint256 }) => fingerprint256));
    this.#hasIssuerCycle = hasIssuerCycle(auth.ca);
  }

  /**
   * Judges a client whose handshake was made with this configuration.
   *
   * @returns Why the client is refused, or `undefined` if it may enter.
   */
  refusal(secure: TLSSocket): string | undefined {
    return readably(secure, (certificate) => {
      const { fingerprint256, valid_to } = certificate;
      if (secure.isSessionReused()) return this.#refusalOfVerified(fingerprint256);
      // Our own verification of the path belongs here, beside the verdict of the runtime.
      if (!secure.authorized) return String(secure.authorizationError);
      this.#verifiedClients.remember(fingerprint256, this.#verificationOf(secure, Date.parse(valid_to)));
      return undefined;
    }, () => this.#refusalWithoutCertificate());
  }

  /**
   * Judges a client that was admitted by the configuration of its handshake, which this one has replaced since.
   *
   * @returns Why the client is refused, or `undefined` if it may enter.
   */
  refusalOfAdmitted(secure: TLSSocket): string | undefined {
    return readably(
      secure,
      ({ fingerprint256 }) => this.#refusalOfVerified(fingerprint256),
      () => this.#refusalWithoutCertificate(),
    );
  }

  #refusalWithoutCertificate(): string | undefined {
    return this.#auth.mode === "optional" ? undefined : "the client sent no certificate";
  }

  #refusalOfVerified(fingerprint256: string): string | undefined {
    const verification = this.#verifiedClients.get(fingerprint256);
    if (!verification) return "the resumed session is of a client that this server has not verified";
    if (verification.notAfter < Date.now()) return "a certificate of the client has expired since it was verified";
    if (!verification.authorities.isSubsetOf(this.#trusted)) {
      return "the authority of the client is not trusted any more";
    }
    this.#verifiedClients.remember(fingerprint256, verification);
    return undefined;
  }

  /** What the runtime has verified the client by: every authority that may have been used. */
  #verificationOf(secure: TLSSocket, leafNotAfter: number): Verification {
    try {
      // Deno would follow such authorities for ever.
      const chain = this.#hasIssuerCycle ? [] : chainOf(secure);
      const ends = chain.map(({ valid_to }) => Date.parse(valid_to)).filter((end) => end >= Date.now());
      return { authorities: this.#authoritiesOf(chain), notAfter: Math.min(leafNotAfter, ...ends) };
    } catch {
      // Clients append certificates that a runtime does not read, or that we do not: any authority may have been used.
      return { authorities: this.#trusted, notAfter: leafNotAfter };
    }
  }

  /** The authority that the runtime found has issued one of these certificates, or is one of them. */
  #authoritiesOf(chain: readonly DetailedPeerCertificate[]): ReadonlySet<string> {
    const issuers = new Set(chain.map(({ raw }) => readCertificateFields(raw).issuer));
    const fingerprints = new Set(chain.map(({ fingerprint256 }) => fingerprint256));
    const candidates = this.#auth.ca.filter(({ subject, fingerprint256 }) => {
      return issuers.has(subject) || fingerprints.has(fingerprint256);
    });
    return candidates.length > 0 ? new Set(candidates.map(({ fingerprint256 }) => fingerprint256)) : this.#trusted;
  }
}

/**
 * Judges a client at the end of its handshake: it must satisfy the configuration of the handshake and the one that is
 * current by then.
 *
 * @param secure The connection.
 * @param own The verification of the handshake's configuration, if it asks for certificates.
 * @param current That of the current configuration, if it asks for certificates.
 * @returns Why the client is refused, or `undefined` if it may enter.
 */
export function admissionRefusal(
  secure: TLSSocket,
  own: ClientVerification | undefined,
  current: ClientVerification | undefined,
): string | undefined {
  const reason = own?.refusal(secure);
  // Deno calls clients authorised that were not asked for a certificate.
  if (!own) secure.authorized = false;
  if (reason !== undefined || own === current) return reason;
  return current?.refusalOfAdmitted(secure);
}

/**
 * Resets the connection of a client that is refused after its handshake. If the connection just ended, clients would
 * take it for complete, and resume the same session again and again.
 */
export function resetConnection(secure: TLSSocket): void {
  const socket = socketUnder(secure);
  // Deferred: destroying inside the event crashes Node.
  setImmediate(() => {
    // Only TCP knows a reset: Node throws for a unix socket.
    if (socket instanceof Socket && socket.remotePort) socket.resetAndDestroy();
    secure.destroy();
  });
}

/** Whether some of these authorities have issued each other, as bridges between authorities do. */
function hasIssuerCycle(authorities: readonly Certificate[]): boolean {
  const issued = authorities.filter(({ subject, issuer }) => subject !== issuer);
  const byIssuer = Map.groupBy(issued, ({ issuer }) => issuer);
  // How many certificates of a name are left whose issuer may lead into a cycle.
  const open = new Map<string, number>();
  for (const { subject } of issued) open.set(subject, (open.get(subject) ?? 0) + 1);
  const closed = [...byIssuer.keys()].filter((name) => !open.has(name));
  let left = issued.length;
  for (let name = closed.pop(); name !== undefined; name = closed.pop()) {
    for (const { subject } of byIssuer.get(name) ?? []) {
      left--;
      const count = open.get(subject)! - 1;
      open.set(subject, count);
      if (count === 0) closed.push(subject);
    }
  }
  return left > 0;
}

/** Reads the client's certificate. Peers send certificates that a runtime cannot read; they are refused. */
function readably(
  secure: TLSSocket,
  withCertificate: (certificate: { readonly fingerprint256: string; readonly valid_to: string }) => string | undefined,
  withoutCertificate: () => string | undefined,
): string | undefined {
  try {
    // Not getPeerX509Certificate(): on Node 22 and 24 it takes the chain away from later callers.
    const certificate = secure.getPeerCertificate();
    if (certificate?.fingerprint256) return withCertificate(certificate);
    secure.authorized = false;
    return withoutCertificate();
  } catch (error) {
    return `the certificate of the client cannot be read: ${error}`;
  }
}

/** The client's own certificate and those that lead from it to an authority, as far as the runtime shows them. */
function chainOf(secure: TLSSocket): DetailedPeerCertificate[] {
  const chain = new Set<DetailedPeerCertificate>();
  let next: DetailedPeerCertificate | undefined = secure.getPeerCertificate(true);
  // An authority may be shown as its own issuer.
  for (; next?.raw && !chain.has(next); next = next.issuerCertificate) chain.add(next);
  return [...chain];
}
