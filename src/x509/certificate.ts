import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { location, TlsReloadError, type TlsReloadErrorOptions } from "../errors.ts";
import { showAs } from "../redaction.ts";
import { WeakCache } from "../weak_cache.ts";
import { type CertificateFacts, type CertificateFields, readCertificateFields } from "./certificate_fields.ts";
import { InvalidField } from "./invalid_field.ts";
import { fingerprintOf } from "./octets.ts";
import {
  contentOf,
  encodePem,
  isCertificateLabel,
  pathOf,
  type PemInput,
  type PemSection,
  placeOf,
  readSections,
} from "./pem.ts";
import { quoteLabel } from "./pem_scanner.ts";

const MAX_DER_BYTES = 0xffff;
const BEGIN = "-----BEGIN CERTIFICATE-----\n";
const END = "-----END CERTIFICATE-----\n";

/** One X.509 certificate and its public facts. Immutable. */
export class Certificate implements CertificateFacts {
  /** The subject, such as `CN=www.example.com,O=Example` (RFC 4514). */
  readonly subject: string;
  /** The issuer, in the same form. */
  readonly issuer: string;
  /** The DNS names that the certificate is valid for (RFC 5280 section 4.2.1.6). */
  readonly dnsNames: readonly string[];
  /** The IP addresses that the certificate is valid for, in their canonical text (RFC 5952). */
  readonly ipAddresses: readonly string[];
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** SHA-256 of the DER in upper-case hexadecimal with colons, the form of `getPeerCertificate().fingerprint256`. */
  readonly fingerprint256: string;
  readonly #notBefore: number;
  readonly #notAfter: number;
  readonly #pem: string;
  /**
   * Weak, because on Node the object takes several times the memory of the PEM, outside of the heap. Forgotten once it
   * is read, because V8 keeps what a `WeakRef` refers to until it collects the old generation.
   */
  #x509: WeakRef<X509Certificate> | undefined;

  static {
    // Getters return a new Date at each reading, because a Date can be changed. Inspectors do not print getters.
    showAs(this.prototype, this.prototype.toJSON);
  }

  /**
   * Reads one certificate.
   *
   * @param der The certificate in DER, with no byte after it.
   * @throws {TlsReloadError} `CERTIFICATE_INVALID` if the bytes are not an X.509 certificate, or the runtime cannot
   * read it: Deno cannot read unique identifiers (RFC 5280 section 4.1.2.8).
   */
  constructor(der: Uint8Array) {
    let fields: CertificateFields;
    let x509: X509Certificate;
    try {
      fields = readCertificateFields(der);
      x509 = readX509(der);
    } catch (cause) {
      throw invalidCertificate("certificate", der, { cause });
    }
    this.subject = fields.subject;
    this.issuer = fields.issuer;
    this.dnsNames = Object.freeze(fields.dnsNames);
    this.ipAddresses = Object.freeze(fields.ipAddresses);
    this.serialNumber = fields.serialNumber;
    // Not of the bytes that were read, which OpenSSL encodes again if they are not quite DER.
    this.fingerprint256 = x509.fingerprint256;
    this.#notBefore = fields.notBefore;
    this.#notAfter = fields.notAfter;
    this.#pem = encodePem({ label: "CERTIFICATE", der });
    this.#x509 = new WeakRef(x509);
    Object.freeze(this);
  }

  /** The first moment of the validity. */
  get notBefore(): Date {
    return new Date(this.#notBefore);
  }

  /** The last moment of the validity. */
  get notAfter(): Date {
    return new Date(this.#notAfter);
  }

  /** The certificate as clean PEM, encoded again from the parsed bytes. */
  get pem(): string {
    return this.#pem;
  }

  /** The certificate as an object of the runtime, which is not kept and may be another one at the next reading. */
  get x509(): X509Certificate {
    const known = this.#x509?.deref();
    this.#x509 = undefined;
    return known ?? readX509(derOf(this));
  }

  /**
   * Whether a moment lies within the validity (RFC 5280 section 4.1.2.5).
   *
   * @param at The moment.
   * @default {new Date()}
   * @returns `false` if the certificate has expired or is not yet valid.
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

/** Decodes the DER of a certificate from its PEM. */
export function derOf({ pem }: Certificate): Uint8Array {
  return Buffer.from(pem.slice(BEGIN.length, -END.length), "base64");
}

/**
 * Reads a certificate with the runtime.
 *
 * @throws {unknown} If the bytes are not an X.509 certificate, or the runtime cannot read it.
 */
export function readX509(der: Uint8Array): X509Certificate {
  // Bun cannot read DER over 64 KiB, but can read the same certificate in PEM.
  return new X509Certificate(der.length > MAX_DER_BYTES ? encodePem({ label: "CERTIFICATE", der }) : der);
}

function invalidCertificate(name: string, der: Uint8Array, options: TlsReloadErrorOptions): TlsReloadError {
  const message = `Cannot read ${name}: ${reasonOf(der, options.cause)}`;
  return new TlsReloadError("CERTIFICATE_INVALID", message, options);
}

function reasonOf(der: Uint8Array, cause: unknown): string {
  if (cause instanceof InvalidField) return cause.message;
  try {
    const { hasUniqueId } = readCertificateFields(der);
    return hasUniqueId
      ? "this runtime does not read an issuerUniqueID or subjectUniqueID (RFC 5280 section 4.1.2.8)"
      : "this runtime does not read it";
  } catch {
    return "it is not an X.509 certificate";
  }
}

const shared = new WeakCache<Certificate>();

/** Returns the same object for the same bytes, because thousands of chains may hold the same intermediate. */
function sharedCertificate(der: Uint8Array): Certificate {
  const fingerprint256 = fingerprintOf(der);
  return shared.get(fingerprint256) ?? shared.set(fingerprint256, new Certificate(der));
}

/** A section of a certificate under another label is an error, because it would be ignored silently. */
const LIKE_CERTIFICATE = /(^|[^A-Z])CERTIFICATE$/i;
/** Arguments of `openssl` that extract the certificates of sections that hold more than a certificate. */
const CONVERSIONS: Readonly<Record<string, string>> = {
  "TRUSTED CERTIFICATE": "x509 -in FILE -out FILE.pem",
  "PKCS7": "pkcs7 -in FILE -print_certs -out FILE.pem",
  "PKCS #7 SIGNED DATA": "pkcs7 -in FILE -print_certs -out FILE.pem",
  "CMS": "cms -cmsout -inform pem -in FILE -certsout FILE.pem -noout",
};

/**
 * Reads all certificates of a file, in their order. Sections of other kinds are ignored.
 *
 * @param input PEM as text or bytes, one certificate in DER, or a file that has been read.
 * @returns All certificates, at least one.
 * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE`, or `CERTIFICATE_INVALID` with the line of the section.
 */
export function parseCertificates(input: PemInput): Certificate[] {
  const sections = readSections(input);
  const certificates: Certificate[] = [];
  for (const section of sections) {
    const { label, der } = section;
    const where = placeOf(input, section);
    if (!isCertificateLabel(label)) {
      if (LIKE_CERTIFICATE.test(label)) throw wrongLabel(label, where);
      continue;
    }
    try {
      certificates.push(certificates.length === 0 ? new Certificate(der) : sharedCertificate(der));
    } catch (error) {
      const name = `certificate ${certificates.length + 1}${location(where)}`;
      throw invalidCertificate(name, der, { ...where, cause: (error as TlsReloadError).cause });
    }
  }
  if (certificates.length === 0) throw noCertificate(input, sections);
  return certificates;
}

function wrongLabel(label: string, where: TlsReloadErrorOptions): TlsReloadError {
  const command = CONVERSIONS[label];
  const reason = command
    ? `convert ${quoteLabel(label)} with: openssl ${command}`
    : `the label must be CERTIFICATE: ${quoteLabel(label)}`;
  return new TlsReloadError("PEM_INVALID", `Cannot read certificate${location(where)}: ${reason}`, where);
}

function noCertificate(input: PemInput, sections: readonly PemSection[]): TlsReloadError {
  const path = pathOf(input);
  const command = sections.map(({ label }) => CONVERSIONS[label]).find((each) => each !== undefined);
  const hint = command ? `; convert it with: openssl ${command}` : "";
  const message = `Cannot find a certificate${location({ path })}: it holds ${contentOf(input, sections)}${hint}`;
  return new TlsReloadError("NO_CERTIFICATE", message, { path });
}
