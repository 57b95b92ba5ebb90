import { X509Certificate } from "node:crypto";
import { isIPv6 } from "node:net";
import { location, TlsReloadError } from "./errors.ts";
import { encodePem, parsePem, pathOf, type PemInput } from "./pem.ts";

/** The public facts of a certificate, as {@linkcode Certificate.toJSON} gives them. */
export interface CertificateFacts {
  /** Whom it was issued to, a line for each attribute, as the runtime prints it. */
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
  /** Whom it was issued to, a line for each attribute, as the runtime prints it. */
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
  readonly #x509: X509Certificate;
  readonly #pem: string;

  /**
   * @param der The certificate in DER, nothing before or after it.
   * @throws {TlsReloadError} `CERTIFICATE_INVALID` if this is no X.509 certificate.
   */
  constructor(der: Uint8Array) {
    this.#pem = encodePem({ label: "CERTIFICATE", der });
    let x509: X509Certificate;
    try {
      if (!isOneSequence(der)) throw new RangeError("the DER is truncated or something follows it");
      x509 = this.#x509 = new X509Certificate(der);
    } catch (cause) {
      throw new TlsReloadError("CERTIFICATE_INVALID", "Cannot read certificate: it is no X.509", { cause });
    }
    this.subject = x509.subject;
    this.issuer = x509.issuer;
    const names = alternativeNames(x509.subjectAltName ?? "");
    this.dnsNames = Object.freeze(names.filter(([kind]) => kind === "DNS").map(([, name]) => name));
    this.ipAddresses = Object.freeze(
      names.filter(([kind]) => kind === "IP Address").map(([, address]) => canonicalAddress(address)),
    );
    this.serialNumber = x509.serialNumber;
    this.notBefore = new Date(x509.validFrom);
    this.notAfter = new Date(x509.validTo);
    this.fingerprint256 = x509.fingerprint256;
    Object.freeze(this);
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
    return this.notBefore <= at && at <= this.notAfter;
  }

  /** The facts as a plain object. */
  toJSON(): CertificateFacts {
    return { ...this };
  }
}

/** Labels that hold a certificate together with something that no TLS server sends. */
const CONVERTIBLE = new Set(["X509 CERTIFICATE", "TRUSTED CERTIFICATE"]);

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
    if (CONVERTIBLE.has(label)) {
      // RFC 7468 section 5.1: what they hold differs from a CERTIFICATE.
      const command = "openssl x509 -in FILE -out FILE.pem";
      const message = `Cannot read certificate${location(where)}: convert "${label}" with: ${command}`;
      throw new TlsReloadError("PEM_INVALID", message, where);
    }
    if (label !== "CERTIFICATE") continue;
    try {
      certificates.push(new Certificate(der));
    } catch (error) {
      const message = `Cannot read certificate ${certificates.length + 1}${location(where)}: it is no X.509`;
      throw new TlsReloadError("CERTIFICATE_INVALID", message, { ...where, cause: (error as Error).cause });
    }
  }
  if (certificates.length === 0) {
    const found = sections.map(({ label }) => label).join(", ");
    const message = `Cannot find a certificate${location({ path })}: it holds ${found === "" ? "no PEM" : found}`;
    throw new TlsReloadError("NO_CERTIFICATE", message, { path });
  }
  return certificates;
}

/** X.690 section 8.1: whether the DER is one SEQUENCE with a long length that ends where the input ends. */
function isOneSequence(der: Uint8Array): boolean {
  const lengthBytes = der[1]! - 0x80;
  if (der[0] !== 0x30 || !(lengthBytes >= 1 && lengthBytes <= 4)) return false;
  const length = der.subarray(2, 2 + lengthBytes).reduce((sum, byte) => sum * 256 + byte, 0);
  return der.length === 2 + lengthBytes + length;
}

/** Splits `DNS:a, IP Address:b`. The runtime quotes a value that could be taken for more than one (CVE-2021-44532). */
function alternativeNames(text: string): [kind: string, value: string][] {
  return [...text.matchAll(/([^:,]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g)].map(([, kind = "", value = ""]) => [
    kind,
    value.startsWith('"') ? JSON.parse(value) : value,
  ]);
}

function canonicalAddress(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}
