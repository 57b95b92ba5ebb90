import type { PathCertificate } from "../x509/path_certificate.ts";
import type { TrustAnchors } from "../x509/trust_anchors.ts";

/** The maximum number of clients, at about 500 bytes each. A client that was removed must make a full handshake. */
const MAX_REMEMBERED = 10_000;
/** The maximum size of their intermediate certificates, in DER. Parsed, one takes up to eight times as much memory. */
const MAX_CERTIFICATE_BYTES = 16 * 1024 ** 2;

/** A path that was found: its validity, and the authorities at its end. */
export interface Finding {
  /** The authorities that the path was searched for in. */
  readonly anchors: TrustAnchors;
  /** The first moment at which all certificates of the path are valid, in milliseconds since 1970. */
  readonly notBefore: number;
  /** The last moment at which all certificates of the path are valid, in milliseconds since 1970. */
  readonly notAfter: number;
  /**
   * SHA-256 fingerprints of the authorities of the configuration on the path, from its end: of all authorities, if the
   * path is not known.
   */
  readonly authorities: ReadonlySet<string>;
}

/** The verification of a client by a full handshake. */
export interface Verification {
  /**
   * The certificates of the client that are part of its path; `undefined` if the runtime does not show them and has
   * verified the path itself.
   */
  readonly intermediates: readonly PathCertificate[] | undefined;
  /** The latest finding. */
  readonly finding: Finding;
}

/**
 * The clients that full handshakes of the servers of one state have verified.
 *
 * Invariant: it holds at most 10,000 clients, by the fingerprint of their certificate, and at most 16 MiB of
 * intermediate certificates; the client that was away longest is first and is removed first. States never share it,
 * because Deno lets a client resume a session of any server of the process, and the states may trust different clients.
 */
export class VerifiedClients {
  readonly #verifications = new Map<string, Verification>();
  #certificateBytes = 0;

  /** The verification of a client, if it is known. */
  get(fingerprint256: string): Verification | undefined {
    return this.#verifications.get(fingerprint256);
  }

  /** Stores the verification of a client that was accepted. */
  remember(fingerprint256: string, verification: Verification): void {
    this.#forget(fingerprint256);
    this.#verifications.set(fingerprint256, verification);
    this.#certificateBytes += certificateBytesOf(verification);
    while (this.#verifications.size > MAX_REMEMBERED || this.#certificateBytes > MAX_CERTIFICATE_BYTES) {
      const [oldest] = this.#verifications.keys();
      this.#forget(oldest!);
    }
  }

  #forget(fingerprint256: string): void {
    const verification = this.#verifications.get(fingerprint256);
    if (!verification) return;
    this.#verifications.delete(fingerprint256);
    this.#certificateBytes -= certificateBytesOf(verification);
  }
}

function certificateBytesOf({ intermediates = [] }: Verification): number {
  return intermediates.reduce((sum, { der }) => sum + der.length, 0);
}
