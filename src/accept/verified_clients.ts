import type { PathCertificate } from "../x509/path_certificate.ts";
import type { TrustAnchors } from "../x509/trust_anchors.ts";

/** How many clients a state remembers, at about 500 bytes each. A client that was forgotten makes a full handshake. */
const MAX_REMEMBERED = 10_000;

/** How long a path was found to hold, and where it ends. */
export interface Finding {
  /** The authorities that it was looked for in. */
  readonly anchors: TrustAnchors;
  /** The first and the last moment at which every certificate of the path is valid, in milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SHA-256 fingerprints of the authorities that may have verified the client: one, if the path is known. */
  readonly authorities: ReadonlySet<string>;
}

/** What a full handshake has shown of a client. */
export interface Verification {
  /**
   * The certificates that the client has sent and that its path needs; `undefined` if the runtime does not show them
   * and has verified the path alone.
   */
  readonly intermediates: readonly PathCertificate[] | undefined;
  /** The latest finding. */
  readonly finding: Finding;
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
