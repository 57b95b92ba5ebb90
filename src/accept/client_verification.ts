import { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { revocationOf } from "../config/client_auth.ts";
import type { ClientAuth } from "../config/options.ts";
import { socketUnder } from "../node_internals/sockets.ts";
import { findPath, leafFault } from "../x509/certification_path.ts";
import { PathCertificate, pathCertificateOf, readable } from "../x509/path_certificate.ts";
import type { Revocation } from "../x509/revocation.ts";
import { type TrustAnchors, trustAnchorsOf } from "../x509/trust_anchors.ts";
import type { AuthorityUse } from "./authority_use.ts";
import { sentBeside } from "./client_chain.ts";
import { type AllowClient, allowRefusal, type ClientCertificate, noteClient } from "./client_identity.ts";
import { authorizationReason } from "./handshake_failure.ts";
import type { Finding, Verification, VerifiedClients } from "./verified_clients.ts";

/** A path that was found to hold, or why there is none. */
type VerifyResult =
  | { readonly verification: Verification; readonly reason?: undefined }
  | { readonly verification?: undefined; readonly reason: string };

const UNLIMITED = { notBefore: -Infinity, notAfter: Infinity, reason: undefined };
const HIDDEN_ISSUER = "this runtime does not show the intermediate of the client, which may be revoked; " +
  "list it in 'clientAuth.intermediates'";

/**
 * Decides about the clients of one configuration after their handshakes. No other code decides about certificates.
 *
 * Invariant: a client is accepted only if a full handshake has verified its certificate, and a path of which nothing is
 * revoked leads from the certificate to an authority that this configuration trusts now, see {@linkcode findPath}. In a
 * full handshake the runtime verifies the client as well, and must accept it. In a resumed handshake no runtime
 * verifies the client, so a server of the same state must have verified the client before.
 *
 * Node 24.21 and 26.8 to 26.9 show a server only the client's own certificate (nodejs/node#65579). If the issuer of
 * that certificate is neither an authority nor an intermediate of the configuration, the decision of the runtime
 * replaces the path, and any authority may have been used. With revocation lists such a client is refused, because its
 * issuer may be revoked.
 */
export class ClientVerification {
  /** The clients that full handshakes have verified. */
  readonly verifiedClients: VerifiedClients;
  readonly #auth: ClientAuth;
  readonly #anchors: TrustAnchors;
  readonly #revocation: Revocation | undefined;
  #configured: readonly PathCertificate[] | undefined;

  constructor(auth: ClientAuth, verifiedClients: VerifiedClients) {
    this.#auth = auth;
    this.verifiedClients = verifiedClients;
    this.#anchors = trustAnchorsOf(auth.ca);
    this.#revocation = revocationOf(auth);
  }

  /**
   * The reason why a client is refused whose handshake was made with this configuration; `undefined` if it is accepted.
   */
  refusal(secure: TLSSocket, certificate: ClientCertificate | undefined): string | undefined {
    if (!certificate) return this.#refusalWithoutCertificate();
    if (secure.isSessionReused()) return this.#refusalOfVerified(certificate);
    if (!secure.authorized) return authorizationReason(secure);
    const known = this.verifiedClients.get(certificate.fingerprint256);
    if (known && this.#holds(known.finding)) return this.#admit(certificate, known);
    return this.#refusalOfNew(secure, certificate);
  }

  /**
   * The reason why a client is refused that the configuration of its handshake has accepted, which this configuration
   * has replaced; `undefined` if the client stays accepted.
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
    const { verification, reason } = this.#verify(leaf, isHidden ? this.#intermediates : certificates);
    if (verification) return this.#admit(certificate, verification);
    const isIssuerHidden = isHidden && !this.#anchors.has(leaf) &&
      this.#anchors.bySubject(leaf.issuerKey).length === 0 &&
      leafFault(leaf, { at: Date.now(), purpose: "clientAuth" }) === undefined;
    if (!isIssuerHidden) return reason;
    if (this.#revocation) {
      return this.#intermediates.some((each) => each.subjectKey === leaf.issuerKey) ? reason : HIDDEN_ISSUER;
    }
    const { notBefore, notAfter } = leaf;
    const finding = { anchors: this.#anchors, notBefore, notAfter, authorities: this.#anchors.fingerprints };
    return this.#admit(certificate, { intermediates: undefined, finding });
  }

  #refusalOfVerified(certificate: ClientCertificate): string | undefined {
    const known = this.verifiedClients.get(certificate.fingerprint256) ?? certificate.verification;
    if (!known) return "the resumed session is of a client that no server of this state has verified";
    if (this.#holds(known.finding)) return this.#admit(certificate, known);
    const { intermediates = this.#revocation && this.#intermediates, finding } = known;
    if (!intermediates) return this.#refusalOfHidden(certificate, finding);
    const leaf = new PathCertificate(certificate.raw, certificate.fingerprint256);
    const { verification, reason } = this.#verify(leaf, intermediates);
    if (!verification) return reason;
    return this.#admit(certificate, { intermediates, finding: verification.finding });
  }

  /** Only the runtime knows the path, so all authorities at which it may end must still be trusted. */
  #refusalOfHidden(certificate: ClientCertificate, finding: Finding): string | undefined {
    if (!isWithin(finding)) return "the certificate of the client has expired";
    if (!finding.authorities.isSubsetOf(this.#anchors.fingerprints)) {
      return "the authority of the client may not be trusted any more";
    }
    return this.#admit(certificate, { intermediates: undefined, finding: { ...finding, anchors: this.#anchors } });
  }

  /** Intermediates of the configuration that can be read, for clients whose own are not shown. */
  get #intermediates(): readonly PathCertificate[] {
    return this.#configured ??= this.#auth.intermediates.flatMap((each) => readable(() => pathCertificateOf(each)));
  }

  #verify(leaf: PathCertificate, intermediates: readonly PathCertificate[]): VerifyResult {
    const at = Date.now();
    const { path, reason } = findPath(leaf, intermediates, this.#anchors, { at, purpose: "clientAuth" });
    if (!path) return { reason };
    const limits = this.#revocation?.judge(path, at) ?? UNLIMITED;
    if (limits.reason !== undefined) return { reason: limits.reason };
    const isAuthority = (each: PathCertificate) => this.#anchors.has(each);
    const finding: Finding = {
      anchors: this.#anchors,
      notBefore: Math.max(limits.notBefore, ...path.map(({ notBefore }) => notBefore)),
      notAfter: Math.min(limits.notAfter, ...path.map(({ notAfter }) => notAfter)),
      authorities: new Set(path.filter(isAuthority).reverse().map(({ fingerprint256 }) => fingerprint256)),
    };
    return { verification: { intermediates: path.slice(1).filter((each) => !isAuthority(each)), finding } };
  }

  /**
   * Whether an earlier path is still valid. If the authorities and revocation lists are the same, only time can end it.
   */
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
interface AdmissionContext {
  /** The verification by the configuration of the handshake, if it requests certificates. */
  readonly own: ClientVerification | undefined;
  /** Returns the verification by the current configuration, if it requests certificates. */
  readonly current: () => ClientVerification | undefined;
  /** The callback of the user. */
  readonly allowClient: AllowClient | undefined;
  /** Counts those that enter. */
  readonly authorityUse: AuthorityUse | undefined;
}

/**
 * The reason why a client is refused at the end of its handshake; `undefined` if it is accepted. The client must
 * satisfy the configuration of the handshake, the callback of the user, and the configuration that is current at the
 * end. The current one comes last, because the callback may swap.
 */
export function admissionRefusal(secure: TLSSocket, admission: AdmissionContext): string | undefined {
  const { own, current, allowClient, authorityUse } = admission;
  try {
    const certificate = own ? certificateOf(secure) : undefined;
    // Deno sets `authorized` although no certificate was requested.
    if (!certificate) secure.authorized = false;
    const refusal = own?.refusal(secure, certificate) ??
      (certificate && allowClient && allowRefusal(certificate, allowClient)) ??
      refusalByCurrent(certificate, own, current());
    if (refusal !== undefined) return refusal;
    noteClient(secure, certificate);
    if (certificate) authorityUse?.note(secure, certificate);
    return undefined;
  } catch (error) {
    // A client may send a certificate that the runtime or this module cannot read.
    return `the certificate of the client cannot be read: ${(error as Error).message}`;
  }
}

function refusalByCurrent(
  certificate: ClientCertificate | undefined,
  own: ClientVerification | undefined,
  current: ClientVerification | undefined,
): string | undefined {
  return own === current ? undefined : current?.refusalOfAdmitted(certificate);
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
