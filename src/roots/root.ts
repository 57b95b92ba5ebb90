import { Buffer } from "node:buffer";
import type { X509Certificate } from "node:crypto";
import { Certificate, readX509 } from "../x509/certificate.ts";
import { TlsReloadError } from "../errors.ts";

/** Roots by the base64 of their DER, which is the same text for the same certificate. */
export type Roots = Map<string, Root>;

/** A certificate as it was found. It is decoded and parsed on first use, because most roots are never used. */
export class Root {
  readonly #base64: string;
  readonly #path: string | undefined;
  readonly #position: number;
  #x509: X509Certificate | undefined;
  #problem: TlsReloadError | undefined;
  #certificate: Certificate | null | undefined;

  /**
   * @param base64 Its DER, as text.
   * @param path The file that it was found in first.
   * @param position Its position in that file, counted from 1.
   */
  constructor(base64: string, path: string | undefined, position: number) {
    this.#base64 = base64;
    this.#path = path;
    this.#position = position;
  }

  /** Its DER. */
  get der(): Uint8Array {
    return Buffer.from(this.#base64, "base64");
  }

  /** The runtime's own object for it; `undefined` if it is not an X.509 certificate. */
  get x509(): X509Certificate | undefined {
    if (this.#x509 || this.#problem) return this.#x509;
    try {
      return this.#x509 = readX509(this.der);
    } catch (cause) {
      const where = this.#path === undefined ? "" : ` in "${this.#path}"`;
      const message = `Cannot read certificate ${this.#position}${where}: it is not an X.509 certificate`;
      this.#problem = new TlsReloadError("CERTIFICATE_INVALID", message, { cause, path: this.#path });
      return undefined;
    }
  }

  /** Why it is not an X.509 certificate; known after {@linkcode Root.x509} has been read. */
  get problem(): TlsReloadError | undefined {
    return this.#problem;
  }

  /** The certificate with its facts; `undefined` if it breaks RFC 5280 in a way that the runtime accepts. */
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
