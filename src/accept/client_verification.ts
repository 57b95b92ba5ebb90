import { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { ClientAuth } from "../config/options.ts";
import { socketUnder } from "../node_internals.ts";
import { findPath, leafFault, type PathResult } from "../x509/certification_path.ts";
import { PathCertificate } from "../x509/path_certificate.ts";
import { type TrustAnchors, trustAnchorsOf } from "../x509/trust_anchors.ts";
import { sentBeside } from "./client_chain.ts";
import { type AllowClient, allowRefusal, type ClientCertificate, noteClient } from "./client_identity.ts";
import type { Finding, Verification, VerifiedClients } from "./verified_clients.ts";

/**
 * Judges the clients of one configuration after their handshakes. This is the one place where a client is judged.
 *
 * Invariant: a client enters only if a full handshake has verified its certificate, and a path leads from it to an
 * authority that this configuration trusts now, see {@linkcode findPath}. In a full handshake the runtime verifies the
 * client as well, and must not have refused it. In a resumed one no runtime does, so the client must have been verified
 * before, by the same server.
 *
 * Node 24.21 and 26.8 to 26.9 show a server the client's own certificate only (nodejs/node#65579). If its issuer is not
 * among the authorities, the verdict of the runtime stands for the path, and every authority may have been used.
 */
export class ClientVerification {
  /** The clients that full handshakes have verified. */
  readonly verifiedClients: VerifiedClients;
  readonly #auth: ClientAuth;
  readonly #anchors: TrustAnchors;

  constructor(auth: ClientAuth, verifiedClients: VerifiedClients) {
    this.#auth = auth;
    this.verifiedClients = verifiedClients;
    this.#anchors = trustAnchorsOf(auth.ca);
  }

  /**
   * Judges a client whose handshake was made with this configuration.
   *
   * @param secure The connection.
   * @param certificate The client's own certificate, if it sent one.
   * @returns Why the client is refused, or `undefined` if it may enter.
   */
  refusal(secure: TLSSocket, certificate: ClientCertificate | undefined): string | undefined {
    if (!certificate) return this.#refusalWithoutCertificate();
    if (secure.isSessionReused()) return this.#refusalOfVerified(certificate);
    if (!secure.authorized) return String(secure.authorizationError);
    const known = this.verifiedClients.get(certificate.fingerprint256);
    if (known && this.#holds(known.finding)) return this.#admit(certificate, known);
    return this.#refusalOfNew(secure, certificate);
  }

  /**
   * Judges a client that was admitted by the configuration of its handshake, which this one has replaced since.
   *
   * @param certificate The client's own certificate, if it sent one.
   * @returns Why the client is refused, or `undefined` if it may enter.
   */
  refusalOfAdmitted(certificate: ClientCertificate | undefined): string | undefined {
    return certificate ? this.#refusalOfVerified(certificate) : this.#refusalWithoutCertificate();
  }

  #refusalWithoutCertificate(): string | undefined {
    return this.#auth.mode === "optional" ? undefined : "the client sent no certificate";
  }

  /** In a full handshake the runtime has verified the client, and may show what the client has sent. */
  #refusalOfNew(secure: TLSSocket, certificate: ClientCertificate): string | undefined {
    const leaf = new PathCertificate(certificate.raw, certificate.fingerprint256);
    const { certificates, isHidden } = sentBeside(secure, this.#anchors.hasCycle);
    const { path, reason } = this.#pathFrom(leaf, certificates);
    if (path) return this.#admit(certificate, this.#verificationBy(path));
    const isIssuerHidden = isHidden && !this.#anchors.has(leaf) &&
      this.#anchors.bySubject(leaf.issuerKey).length === 0 &&
      leafFault(leaf, { at: Date.now(), purpose: "clientAuth" }) === undefined;
    if (!isIssuerHidden) return reason;
    const { notBefore, notAfter } = leaf;
    const finding = { anchors: this.#anchors, notBefore, notAfter, authorities: this.#anchors.fingerprints };
    return this.#admit(certificate, { intermediates: undefined, finding });
  }

  #refusalOfVerified(certificate: ClientCertificate): string | undefined {
    const known = this.verifiedClients.get(certificate.fingerprint256);
    if (!known) return "the resumed session is of a client that this server has not verified";
    if (this.#holds(known.finding)) return this.#admit(certificate, known);
    const { intermediates, finding } = known;
    if (!intermediates) return this.#refusalOfHidden(certificate, finding);
    const leaf = new PathCertificate(certificate.raw, certificate.fingerprint256);
    const { path, reason } = this.#pathFrom(leaf, intermediates);
    if (!path) return reason;
    return this.#admit(certificate, { intermediates, finding: this.#verificationBy(path).finding });
  }

  /** The runtime alone knows the path: all of the authorities that it may lead to must be trusted. */
  #refusalOfHidden(certificate: ClientCertificate, finding: Finding): string | undefined {
    if (!isWithin(finding)) return "the certificate of the client has expired";
    if (!finding.authorities.isSubsetOf(this.#anchors.fingerprints)) {
      return "the authority of the client may not be trusted any more";
    }
    return this.#admit(certificate, { intermediates: undefined, finding: { ...finding, anchors: this.#anchors } });
  }

  #pathFrom(leaf: PathCertificate, intermediates: readonly PathCertificate[]): PathResult {
    return findPath(leaf, intermediates, this.#anchors, { at: Date.now(), purpose: "clientAuth" });
  }

  #verificationBy(path: readonly PathCertificate[]): Verification {
    const finding: Finding = {
      anchors: this.#anchors,
      notBefore: Math.max(...path.map(({ notBefore }) => notBefore)),
      notAfter: Math.min(...path.map(({ notAfter }) => notAfter)),
      authorities: new Set([path.at(-1)!.fingerprint256]),
    };
    return { intermediates: path.slice(1).filter((each) => !this.#anchors.has(each)), finding };
  }

  /** Whether a path that was found before holds: the authorities are the same, so time alone can have ended it. */
  #holds(finding: Finding): boolean {
    return finding.anchors === this.#anchors && isWithin(finding);
  }

  #admit(certificate: ClientCertificate, verification: Verification): undefined {
    this.verifiedClients.remember(certificate.fingerprint256, verification);
    certificate.authorities = verification.finding.authorities;
  }
}

function isWithin({ notBefore, notAfter }: Finding): boolean {
  const now = Date.now();
  return notBefore <= now && now < notAfter;
}

/** What a client must satisfy at the end of its handshake. */
export interface Admission {
  /** The verification of the handshake's configuration, if it asks for certificates. */
  readonly own: ClientVerification | undefined;
  /** That of the current configuration, if it asks for certificates. */
  readonly current: ClientVerification | undefined;
  /** Decides last, if there is one. */
  readonly allowClient: AllowClient | undefined;
}

/**
 * Judges a client at the end of its handshake: it must satisfy the configuration of the handshake and the one that is
 * current by then.
 *
 * @param secure The connection.
 * @param admission What the client must satisfy.
 * @returns Why the client is refused, or `undefined` if it may enter.
 */
export function admissionRefusal(secure: TLSSocket, { own, current, allowClient }: Admission): string | undefined {
  try {
    const certificate = own || current ? certificateOf(secure) : undefined;
    // Deno calls clients authorised that were not asked for a certificate.
    if (!own || !certificate) secure.authorized = false;
    const reason = own?.refusal(secure, certificate) ??
      (own === current ? undefined : current?.refusalOfAdmitted(certificate));
    if (reason !== undefined) return reason;
    const verified = own && certificate;
    noteClient(secure, verified);
    return verified && allowClient ? allowRefusal(verified, allowClient) : undefined;
  } catch (error) {
    // Peers send certificates that a runtime cannot read, or that we cannot.
    return `the certificate of the client cannot be read: ${(error as Error).message}`;
  }
}

/** Not `getPeerX509Certificate()`: on Node 22 and 24 it takes the chain away from later callers. */
function certificateOf(secure: TLSSocket): ClientCertificate | undefined {
  const { raw, fingerprint256 } = secure.getPeerCertificate() ?? {};
  return fingerprint256 ? { raw, fingerprint256, authorities: new Set() } : undefined;
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
