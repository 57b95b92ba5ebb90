import { type PublicKeyFacts, readPublicKey, readSignatureAlgorithm, type SignatureAlgorithm } from "./algorithms.ts";
import type { Certificate } from "./certificate.ts";
import { CertificateExtensions } from "./certificate_extensions.ts";
import { type CertificateStructure, readStructure } from "./certificate_structure.ts";
import { readChildren } from "./der.ts";
import { canonicalName, distinguishedName } from "./distinguished_name.ts";
import type { AuthorityKeyIdentifier } from "./extension.ts";
import { fingerprintOf, hexOf } from "./octets.ts";
import { readTime } from "./time.ts";

/**
 * A certificate with everything that path validation reads.
 *
 * Invariant: the constructor parses the whole certificate except the values of its extensions, which are parsed when
 * they are first read. Nothing is verified.
 */
export class PathCertificate {
  /** The certificate in DER. */
  readonly der: Uint8Array;
  /** The parts of the certificate. */
  readonly structure: CertificateStructure;
  /** The extensions of the certificate. */
  readonly extensions: CertificateExtensions;
  /** SHA-256 of the DER in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  /** The subject, one canonical string for each relative distinguished name. */
  readonly subjectName: readonly string[];
  /** The canonical subject as one string, for maps and comparisons. */
  readonly subjectKey: string;
  /** The canonical issuer as one string. */
  readonly issuerKey: string;
  /** The first moment of the validity, in milliseconds since 1970. */
  readonly notBefore: number;
  /** The last moment of the validity, in milliseconds since 1970. */
  readonly notAfter: number;
  /** The public key. */
  readonly publicKey: PublicKeyFacts;
  /** The algorithm of the signature. */
  readonly signatureAlgorithm: SignatureAlgorithm;

  /**
   * Parses a certificate.
   *
   * @param fingerprint256 SHA-256 of the DER, if it is known.
   * @throws {RangeError} If a part of the certificate is broken.
   */
  constructor(der: Uint8Array, fingerprint256: string = fingerprintOf(der)) {
    this.der = der;
    this.fingerprint256 = fingerprint256;
    this.structure = readStructure(der);
    this.extensions = new CertificateExtensions(this.structure);
    this.subjectName = canonicalName(this.structure.subject);
    this.subjectKey = this.subjectName.join("");
    this.issuerKey = canonicalName(this.structure.issuer).join("");
    const [notBefore, notAfter] = readChildren(this.structure.validity);
    this.notBefore = readTime("notBefore", notBefore);
    this.notAfter = readTime("notAfter", notAfter);
    this.publicKey = readPublicKey(this.structure);
    this.signatureAlgorithm = readSignatureAlgorithm(this.structure.algorithm);
  }

  /** Whether issuer and subject are the same name (RFC 5280 section 3.2). */
  get isSelfIssued(): boolean {
    return this.subjectKey === this.issuerKey;
  }

  /** Whether the certificate names itself as its issuer and its key fits the signature, which is not verified. */
  get isSelfSigned(): boolean {
    return this.isSelfIssued && this.namesIssuer(this) && fitsKey(this.signatureAlgorithm, this.publicKey);
  }

  /** The subject in the form of RFC 4514. */
  get subject(): string {
    return distinguishedName(this.structure.subject);
  }

  /** Whether the authority key identifier, if there is one, matches a possible issuer (RFC 5280 section 4.2.1.1). */
  namesIssuer(issuer: PathCertificate): boolean {
    const { authorityKeyIdentifier: wanted } = this.extensions;
    return wanted === undefined || issuer.#isNamedBy(wanted);
  }

  #isNamedBy(wanted: AuthorityKeyIdentifier): boolean {
    const { subjectKeyIdentifier } = this.extensions;
    const { keyIdentifier = subjectKeyIdentifier, serialNumber, issuer } = wanted;
    if (subjectKeyIdentifier !== undefined && keyIdentifier !== subjectKeyIdentifier) return false;
    if (serialNumber !== undefined && serialNumber !== hexOf(this.structure.serialNumber)) return false;
    const name = issuer?.find(({ kind }) => kind === "directory");
    return name?.kind !== "directory" || canonicalName(name.name).join("") === this.issuerKey;
  }
}

/** Parses a certificate of a configuration. Throws a `RangeError` if path validation cannot read it. */
export function pathCertificateOf({ x509, fingerprint256 }: Certificate): PathCertificate {
  return new PathCertificate(new Uint8Array(x509.raw), fingerprint256);
}

/** A list of one value; an empty list if the value cannot be read. */
export function readable<T>(read: () => T): T[] {
  try {
    return [read()];
  } catch {
    return [];
  }
}

/** Whether an algorithm can sign with a key of this kind. */
export function fitsKey({ scheme }: SignatureAlgorithm, { kind }: PublicKeyFacts): boolean {
  if (scheme === "rsa-pss") return kind === "rsa" || kind === "rsa-pss";
  return scheme === (kind === "ec" ? "ecdsa" : kind);
}
