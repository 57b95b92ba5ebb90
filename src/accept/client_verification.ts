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
 * Decides about the clients of one configuration after their handshakes. No other code decides about certificates.
 *
 * Invariant: a client is accepted only if a full handshake has verified its certificate, and a path leads from the
 * certificate to an authority that this configuration trusts now, see {@linkcode findPath}. In a full handshake the
 * runtime verifies the client as well, and must accept it. In a resumed handshake no runtime verifies the client, so
 * the same server must have verified the client before.
 *
 * Node 24.21 and 26.8 to 26.9 show a server only the client's own certificate (nodejs/node#65579). If the issuer of
 * that certificate is not an authority of the configuration, the decision of the runtime replaces the path, and any
 * authority may have been used.
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
   * Decides about a client whose handshake was made with this configuration.
   *
   * @param secure The connection.
   * @param certificate The client's own certificate, if it sent one.
   * @returns The reason for the refusal; `undefined` if the client is accepted.
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
   * Decides about a client that the configuration of its handshake has accepted. This configuration has replaced that
   * one.
   *
   * @param certificate The client's own certificate, if it sent one.
   * @returns The reason for the refusal; `undefined` if the client is accepted.
   */
  refusalOfAdmitted(certificate: ClientCertificate | undefined): string | undefined {
    return certificate ? this.#refusalOfVerified(certificate) : this.#refusalWithoutCertificate();
  }

  #refusalWithoutCertificate(): string | undefined {
    return this.#auth.mode === "optional" ? undefined : "the client sent no certificate";
  }

  /**
   * Decides after a full handshake: the runtime has verified the client, and may show the certificates that it sent.
   */
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
    const known = this.verifiedClients.get(certificate.fingerprint256) ?? certificate.verification;
    if (!known) return "the resumed session is of a client that this server has not verified";
    if (this.#holds(known.finding)) return this.#admit(certificate, known);
    const { intermediates, finding } = known;
    if (!intermediates) return this.#refusalOfHidden(certificate, finding);
    const leaf = new PathCertificate(certificate.raw, certificate.fingerprint256);
    const { path, reason } = this.#pathFrom(leaf, intermediates);
    if (!path) return reason;
    return this.#admit(certificate, { intermediates, finding: this.#verificationBy(path).finding });
  }

  /** Only the runtime knows the path, so all authorities at which it may end must still be trusted. */
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

  /** Whether an earlier path is still valid. If the authorities are the same, only time can end it. */
  #holds(finding: Finding): boolean {
    return finding.anchors === this.#anchors && isWithin(finding);
  }

  #admit(certificate: ClientCertificate, verification: Verification): undefined {
    this.verifiedClients.remember(certificate.fingerprint256, verification);
    certificate.authorities = verification.finding.authorities;
    certificate.verification = verification;
  }
}

function isWithin({ notBefore, notAfter }: Finding): boolean {
  const now = Date.now();
  return notBefore <= now && now < notAfter;
}

/** The conditions for a client at the end of its handshake. */
export interface Admission {
  /** The verification by the configuration of the handshake, if it requests certificates. */
  readonly own: ClientVerification | undefined;
  /** The verification by the current configuration, if it requests certificates. */
  readonly current: ClientVerification | undefined;
  /** The callback of the user, which decides last. */
  readonly allowClient: AllowClient | undefined;
}

/**
 * Decides about a client at the end of its handshake. The client must satisfy the configuration of the handshake and
 * the configuration that is current at the end.
 *
 * @param secure The connection.
 * @param admission The conditions.
 * @returns The reason for the refusal; `undefined` if the client is accepted.
 */
export function admissionRefusal(secure: TLSSocket, { own, current, allowClient }: Admission): string | undefined {
  try {
    const certificate = own || current ? certificateOf(secure) : undefined;
    // Deno sets `authorized` although no certificate was requested.
    if (!own || !certificate) secure.authorized = false;
    const reason = own?.refusal(secure, certificate) ??
      (own === current ? undefined : current?.refusalOfAdmitted(certificate));
    if (reason !== undefined) return reason;
    const verified = own && certificate;
    noteClient(secure, verified);
    return verified && allowClient ? allowRefusal(verified, allowClient) : undefined;
  } catch (error) {
    // A client may send a certificate that the runtime or this module cannot read.
    return `the certificate of the client cannot be read: ${(error as Error).message}`;
  }
}

/** Does not call `getPeerX509Certificate()`, because later callers on Node 22 and 24 would not get the chain. */
function certificateOf(secure: TLSSocket): ClientCertificate | undefined {
  const { raw, fingerprint256 } = secure.getPeerCertificate() ?? {};
  return fingerprint256 ? { raw, fingerprint256, authorities: new Set() } : undefined;
}

/**
 * Resets the connection of a client that is refused after its handshake. A client would mistake a clean end for
 * success, and resume the same session again and again.
 */
export function resetConnection(secure: TLSSocket): void {
  const socket = socketUnder(secure);
  // Deferred: destroying inside the event crashes Node.
  setImmediate(() => {
    // Only TCP has a reset. Node throws for a unix socket.
    if (socket instanceof Socket && socket.remotePort) socket.resetAndDestroy();
    secure.destroy();
  });
}
