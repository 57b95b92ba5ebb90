import { X509Certificate } from "node:crypto";
import { type CertificateFields, readCertificateFields } from "./certificate_fields.ts";
import { location, TlsReloadError } from "../errors.ts";
import { showAs } from "../redaction.ts";
import { encodePem, labelsOf, parsePem, pathOf, type PemInput, quoteLabel } from "./pem.ts";

/** The public facts of a certificate, as {@linkcode Certificate.toJSON} gives them. */
export interface CertificateFacts {
  /** Whom it was issued to, such as `CN=www.example.com,O=Example` (RFC 4514). */
  readonly subject: string;
  /** Who issued it, in the same form. */
  readonly issuer: string;
  /** The DNS names it is valid for (RFC 5280 section 4.2.1.6). */
  readonly dnsNames: readonly string[];
  /** The IP addresses it is valid for, in their canonical text (RFC 5952). */
  readonly ipAddresses: readonly string[];
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** The first moment of its validity. */
  readonly notBefore: Date;
  /** The last moment of its validity. */
  readonly notAfter: Date;
  /** SHA-256 of the DER in upper-case hexadecimal with colons, the form of `getPeerCertificate().fingerprint256`. */
  readonly fingerprint256: string;
}

/** One X.509 certificate and its public facts. Immutable. */
export class Certificate implements CertificateFacts {
  /** Whom it was issued to, such as `CN=www.example.com,O=Example` (RFC 4514). */
  readonly subject: string;
  /** Who issued it, in the same form. */
  readonly issuer: string;
  /** The DNS names it is valid for (RFC 5280 section 4.2.1.6). */
  readonly dnsNames: readonly string[];
  /** The IP addresses it is valid for, in their canonical text (RFC 5952). */
  readonly ipAddresses: readonly string[];
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** SHA-256 of the DER in upper-case hexadecimal with colons, the form of `getPeerCertificate().fingerprint256`. */
  readonly fingerprint256: string;
  readonly #notBefore: number;
  readonly #notAfter: number;
  readonly #x509: X509Certificate;
  readonly #pem: string;

  static {
    // A Date can be written to, so each reading gives a new one; of a getter nothing is printed unless it is told to.
    showAs(this.prototype, this.prototype.toJSON);
  }

  /**
   * Reads one certificate.
   *
   * @param der The certificate in DER, nothing before or after it.
   * @throws {TlsReloadError} `CERTIFICATE_INVALID` if this is no X.509 certificate.
   */
  constructor(der: Uint8Array) {
    let fields: CertificateFields;
    try {
      fields = readCertificateFields(der);
      this.#x509 = new X509Certificate(der);
    } catch (cause) {
      throw new TlsReloadError("CERTIFICATE_INVALID", "Cannot read certificate: it is no X.509", { cause });
    }
    this.subject = fields.subject;
    this.issuer = fields.issuer;
    this.dnsNames = Object.freeze(fields.dnsNames);
    this.ipAddresses = Object.freeze(fields.ipAddresses);
    this.serialNumber = fields.serialNumber;
    this.fingerprint256 = this.#x509.fingerprint256;
    this.#notBefore = fields.notBefore;
    this.#notAfter = fields.notAfter;
    this.#pem = encodePem({ label: "CERTIFICATE", der });
    Object.freeze(this);
  }

  /** The first moment of its validity. */
  get notBefore(): Date {
    return new Date(this.#notBefore);
  }

  /** The last moment of its validity. */
  get notAfter(): Date {
    return new Date(this.#notAfter);
  }

  /** The certificate as clean PEM, encoded again from what was parsed. */
  get pem(): string {
    return this.#pem;
  }

  /** The runtime's own object for it. */
  get x509(): X509Certificate {
    return this.#x509;
  }

  /**
   * Tells whether a moment lies in its validity (RFC 5280 section 4.1.2.5).
   *
   * @param at The moment.
   * @default {new Date()}
   * @returns `false` if it has expired or is not yet valid.
   */
  isValidAt(at: Date = new Date()): boolean {
    return this.#notBefore <= at.getTime() && at.getTime() <= this.#notAfter;
  }

  /** The facts as a plain object. */
  toJSON(): CertificateFacts {
    const { notBefore, notAfter } = this;
    return { ...this, notBefore, notAfter };
  }
}

/** Labels whose sections `openssl x509` reads. RFC 7468 section 5.1: they may hold something else than a CERTIFICATE. */
const CONVERTIBLE = new Set(["X509 CERTIFICATE", "TRUSTED CERTIFICATE"]);
/** What is meant as a certificate, but is labelled as another kind, would be lost in silence. */
const LIKE_CERTIFICATE = /(^|[^A-Z])CERTIFICATE$/i;

/**
 * Reads all certificates of a PEM text, in their order. Sections of other kinds are passed over.
 *
 * @param pem The text, its bytes, or a file that has been read.
 * @returns At least one certificate: all of them or none.
 * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE`, or `CERTIFICATE_INVALID` with the line of the section.
 */
export function parseCertificates(pem: PemInput): Certificate[] {
  const path = pathOf(pem);
  const sections = parsePem(pem);
  const certificates: Certificate[] = [];
  for (const { label, der, line } of sections) {
    const where = { path, line };
    if (label !== "CERTIFICATE") {
      if (!LIKE_CERTIFICATE.test(label)) continue;
      const reason = CONVERTIBLE.has(label)
        ? `convert ${quoteLabel(label)} with: openssl x509 -in FILE -out FILE.pem`
        : `the label must be CERTIFICATE: ${quoteLabel(label)}`;
      throw new TlsReloadError("PEM_INVALID", `Cannot read certificate${location(where)}: ${reason}`, where);
    }
    try {
      certificates.push(new Certificate(der));
    } catch (error) {
      const message = `Cannot read certificate ${certificates.length + 1}${location(where)}: it is no X.509`;
      throw new TlsReloadError("CERTIFICATE_INVALID", message, { ...where, cause: (error as Error).cause });
    }
  }
  if (certificates.length === 0) {
    const message = `Cannot find a certificate${location({ path })}: it holds ${labelsOf(sections)}`;
    throw new TlsReloadError("NO_CERTIFICATE", message, { path });
  }
  return certificates;
}
