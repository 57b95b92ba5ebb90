import { Buffer } from "node:buffer";
import type { X509Certificate } from "node:crypto";
import { location, TlsReloadError } from "../errors.ts";
import { Certificate, readX509 } from "../x509/certificate.ts";

/** Roots by the base64 of their DER, because equal certificates have equal base64. */
export type Roots = Map<string, Root>;

/**
 * A certificate that was found. It is decoded and parsed on first use, because most roots are never used.
 *
 * Invariant: after the first use exactly one of `x509` and `problem` is defined, and neither changes any more.
 */
export class Root {
  readonly #base64: string;
  readonly #path: string | undefined;
  readonly #position: number;
  #x509: X509Certificate | undefined;
  #problem: TlsReloadError | undefined;
  #certificate: Certificate | null | undefined;

  /**
   * @param path The file in which it was found first.
   * @param position The position in that file, counted from 1.
   */
  constructor(base64: string, path: string | undefined, position: number) {
    this.#base64 = base64;
    this.#path = path;
    this.#position = position;
  }

  /** The certificate in DER. */
  get der(): Uint8Array {
    return Buffer.from(this.#base64, "base64");
  }

  /** The certificate as an object of the runtime; `undefined` if it is not an X.509 certificate. */
  get x509(): X509Certificate | undefined {
    if (this.#x509 || this.#problem) return this.#x509;
    try {
      return this.#x509 = readX509(this.der);
    } catch (cause) {
      const where = location({ path: this.#path });
      const message = `Cannot read certificate ${this.#position}${where}: it is not an X.509 certificate`;
      this.#problem = new TlsReloadError("CERTIFICATE_INVALID", message, { cause, path: this.#path });
      return undefined;
    }
  }

  /** The error if this is not an X.509 certificate. Known after {@linkcode Root.x509} was read. */
  get problem(): TlsReloadError | undefined {
    return this.#problem;
  }

  /** The certificate with its facts; `undefined` if it breaks RFC 5280 although the runtime accepts it. */
  get certificate(): Certificate | undefined {
    if (this.#certificate === undefined) {
      try {
        this.#certificate = new Certificate(this.der);
      } catch {
        this.#certificate = null;
      }
    }
    return this.#certificate ?? undefined;
  }
}
