import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { type PublicKeyFacts, readPublicKey, readSignatureAlgorithm, type SignatureAlgorithm } from "./algorithms.ts";
import { canonicalName } from "./canonical_name.ts";
import { distinguishedName, time } from "./certificate_fields.ts";
import { type CertificateStructure, readStructure } from "./certificate_structure.ts";
import { readChildren } from "./der.ts";
import { type AuthorityKeyIdentifier, CertificateExtensions } from "./extensions.ts";

/**
 * A certificate as path validation looks at it: parsed once, whole, by the constructor. Nothing in it has been verified.
 */
export class PathCertificate {
  /** The certificate. */
  readonly der: Uint8Array;
  /** Its parts. */
  readonly structure: CertificateStructure;
  /** Its extensions. */
  readonly extensions: CertificateExtensions;
  /** SHA-256 of the DER in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  /** The subject, one canonical string for each relative distinguished name. */
  readonly subjectName: readonly string[];
  /** The subject as a key. */
  readonly subjectKey: string;
  /** The issuer as a key. */
  readonly issuerKey: string;
  /** In milliseconds since 1970, as `notAfter`. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** The public key. */
  readonly publicKey: PublicKeyFacts;
  /** How the certificate is signed. */
  readonly signatureAlgorithm: SignatureAlgorithm;

  /**
   * Parses a certificate.
   *
   * @param der The certificate, nothing before or after it.
   * @param fingerprint256 SHA-256 of the DER, where it is known.
   * @throws {RangeError} If a part of it is broken.
   */
  constructor(der: Uint8Array, fingerprint256: string = fingerprint(der)) {
    this.der = der;
    this.fingerprint256 = fingerprint256;
    this.structure = readStructure(der);
    this.extensions = new CertificateExtensions(this.structure);
    this.subjectName = canonicalName(this.structure.subject);
    this.subjectKey = this.subjectName.join("");
    this.issuerKey = canonicalName(this.structure.issuer).join("");
    const [notBefore, notAfter] = readChildren(this.structure.validity);
    this.notBefore = time("notBefore", notBefore);
    this.notAfter = time("notAfter", notAfter);
    this.publicKey = readPublicKey(this.structure);
    this.signatureAlgorithm = readSignatureAlgorithm(this.structure.algorithm);
  }

  /** Whether issuer and subject are the same name (RFC 5280 section 3.2). */
  get isSelfIssued(): boolean {
    return this.subjectKey === this.issuerKey;
  }

  /** Whether it is its own issuer, by name, key identifier and kind of key. Its signature is not verified. */
  get isSelfSigned(): boolean {
    return this.isSelfIssued && this.namesIssuer(this) && fitsKey(this.signatureAlgorithm, this.publicKey);
  }

  /** The subject in the form of RFC 4514. */
  get subject(): string {
    return distinguishedName(this.structure.subject);
  }

  /**
   * Whether its authority key identifier, if it has one, can mean another certificate (RFC 5280 section 4.2.1.1).
   *
   * @param issuer The other certificate.
   */
  namesIssuer(issuer: PathCertificate): boolean {
    const { authorityKeyIdentifier: wanted } = this.extensions;
    return wanted === undefined || issuer.#isNamedBy(wanted);
  }

  #isNamedBy(wanted: AuthorityKeyIdentifier): boolean {
    const { subjectKeyIdentifier } = this.extensions;
    const { keyIdentifier = subjectKeyIdentifier, serialNumber, issuer } = wanted;
    if (subjectKeyIdentifier !== undefined && keyIdentifier !== subjectKeyIdentifier) return false;
    const ownSerialNumber = Buffer.from(this.structure.serialNumber).toString("hex").toUpperCase();
    if (serialNumber !== undefined && serialNumber !== ownSerialNumber) return false;
    const name = issuer?.find(({ kind }) => kind === "directory");
    return name?.kind !== "directory" || canonicalName(name.name).join("") === this.issuerKey;
  }
}

/** Whether a key can have made a signature of an algorithm. */
export function fitsKey({ scheme }: SignatureAlgorithm, { kind }: PublicKeyFacts): boolean {
  if (scheme === "rsa-pss") return kind === "rsa" || kind === "rsa-pss";
  return scheme === (kind === "ec" ? "ecdsa" : kind);
}

function fingerprint(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex").toUpperCase().match(/../g)!.join(":");
}
