import { location, TlsReloadError } from "../errors.ts";
import type { Certificate } from "./certificate.ts";
import { type CrlStructure, readCrlStructure } from "./crl_structure.ts";
import { InvalidField } from "./invalid_field.ts";
import { fingerprintOf } from "./octets.ts";
import { type PathCertificate, pathCertificateOf } from "./path_certificate.ts";
import { contentOf, encodePem, pathOf, type PemInput, type PemSection, placeOf, readSections } from "./pem.ts";
import { quoteLabel } from "./pem_scanner.ts";
import { signedDataFault, weaknessOf } from "./signatures.ts";

/** The maximum size of files of revocation lists: about 1,500,000 entries. */
export const MAX_CRL_BYTES = 64 * 1024 * 1024;

const LABEL = "X509 CRL";
const LIKE_CRL = /\bCRL$/i;

/** The public facts of a revocation list. */
export interface CrlFacts {
  /** The issuer, such as `CN=Example CA,O=Example` (RFC 4514). */
  readonly issuer: string;
  /** The number of the list in upper-case hexadecimal (RFC 5280 section 5.2.3); `undefined` if not given. */
  readonly crlNumber: string | undefined;
  /** The time of its issue. */
  readonly thisUpdate: Date;
  /** The time by which the next list is issued; `undefined` if it does not say, which RFC 5280 does not allow. */
  readonly nextUpdate: Date | undefined;
  /** How many serial numbers are revoked. */
  readonly size: number;
  /** SHA-256 of the DER in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
}

/**
 * A certificate revocation list (RFC 5280 section 5): the serial numbers that an authority has revoked. Immutable.
 *
 * Invariant: the list is complete for its issuer, because delta CRLs, indirect CRLs and CRLs of a part of the
 * certificates are refused. The constructor does not verify the signature; {@linkcode CertificateRevocationList.verify}
 * does.
 */
export class CertificateRevocationList implements CrlFacts {
  /** The issuer, such as `CN=Example CA,O=Example` (RFC 4514). */
  readonly issuer: string;
  /** The canonical issuer: equal strings for Names that are equal by RFC 5280 section 7.1. */
  readonly issuerKey: string;
  /** The key identifier of the issuer in upper-case hexadecimal (RFC 5280 section 5.2.1); `undefined` if not given. */
  readonly authorityKeyIdentifier: string | undefined;
  /** The number of the list in upper-case hexadecimal (RFC 5280 section 5.2.3); `undefined` if not given. */
  readonly crlNumber: string | undefined;
  /** SHA-256 of the DER in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  readonly #der: Uint8Array;
  readonly #fields: CrlStructure;

  /**
   * Reads one list.
   *
   * @param der The list in DER, with no byte after it.
   * @throws {TlsReloadError} `CRL_INVALID` if the bytes are not a list, or a list of a kind that is refused.
   */
  constructor(der: Uint8Array) {
    try {
      this.#fields = readCrlStructure(der);
    } catch (cause) {
      throw new TlsReloadError("CRL_INVALID", `Cannot read revocation list: ${reasonOf(cause)}`, { cause });
    }
    this.issuer = this.#fields.issuer;
    this.issuerKey = this.#fields.issuerKey;
    this.authorityKeyIdentifier = this.#fields.authorityKeyIdentifier;
    this.crlNumber = this.#fields.crlNumber;
    this.#der = der;
    this.fingerprint256 = fingerprintOf(der);
    Object.freeze(this);
  }

  /** The list as clean PEM. */
  get pem(): string {
    return encodePem({ label: LABEL, der: this.#der });
  }

  /** The time of its issue. */
  get thisUpdate(): Date {
    return new Date(this.#fields.thisUpdate);
  }

  /** The latest time of the next list; `undefined` if the list breaks RFC 5280 and does not have it. */
  get nextUpdate(): Date | undefined {
    const { nextUpdate } = this.#fields;
    return nextUpdate === undefined ? undefined : new Date(nextUpdate);
  }

  /** The number of revoked serial numbers. */
  get size(): number {
    return this.#fields.serials.size;
  }

  /**
   * Whether a moment lies between `thisUpdate` and `nextUpdate`.
   *
   * @default {new Date()}
   */
  isCurrentAt(at: Date = new Date()): boolean {
    const { thisUpdate, nextUpdate = Infinity } = this.#fields;
    return thisUpdate <= at.getTime() && at.getTime() <= nextUpdate;
  }

  /**
   * Whether a serial number is revoked, in the form of {@linkcode Certificate.serialNumber}. The time does not depend
   * on the size of the list.
   */
  isRevoked(serialNumber: string): boolean {
    return this.#fields.serials.has(serialNumber);
  }

  /** Whether a serial number is revoked here that is not revoked by any of other lists. */
  revokesBeyond(others: readonly CertificateRevocationList[]): boolean {
    return !this.#fields.serials.isWithin(others.map((other) => other.#fields.serials));
  }

  /** The facts as a plain object, without the serial numbers. */
  toJSON(): CrlFacts {
    const { issuer, crlNumber, thisUpdate, nextUpdate, size, fingerprint256 } = this;
    return { issuer, crlNumber, thisUpdate, nextUpdate, size, fingerprint256 };
  }

  /** Whether a certificate can be the issuer, by its name and key identifier. Does not verify the signature. */
  names(certificate: PathCertificate): boolean {
    const { subjectKeyIdentifier } = certificate.extensions;
    const wanted = this.authorityKeyIdentifier;
    return certificate.subjectKey === this.issuerKey &&
      (wanted === undefined || subjectKeyIdentifier === undefined || wanted === subjectKeyIdentifier);
  }

  /**
   * Verifies that an authority has issued the list: by its name, its right to sign lists, and the signature, which must
   * not use SHA-1 or MD5.
   *
   * @throws {TlsReloadError} `CRL_INVALID`, with the reason.
   */
  verify(issuer: Certificate): void {
    const fault = this.faultFor(pathCertificateOf(issuer));
    if (fault) throw new TlsReloadError("CRL_INVALID", `Cannot use revocation list of "${this.issuer}": ${fault}`);
  }

  /** Like {@linkcode CertificateRevocationList.verify}, but returns the reason why the list is refused. */
  faultFor(issuer: PathCertificate): string | undefined {
    if (!this.names(issuer)) return `it is not of the authority "${issuer.subject}"`;
    const { keyUsage } = issuer.extensions;
    // RFC 5280 section 6.3.3 (f).
    if (keyUsage && !keyUsage.has("cRLSign")) return "the key usage of the authority lacks cRLSign";
    return weaknessOf(issuer) ?? signedDataFault(this.#fields.signed, issuer);
  }
}

/**
 * Reads all certificate revocation lists of a file, in their order. Sections of other kinds are ignored.
 *
 * @param input PEM as text or bytes, one list in DER, or a file that has been read.
 * @returns All lists, at least one.
 * @throws {TlsReloadError} `PEM_INVALID`, or `CRL_INVALID` with the line of the section.
 */
export function parseCrls(input: PemInput): CertificateRevocationList[] {
  const sections = readSections(input);
  const lists: CertificateRevocationList[] = [];
  for (const section of sections) {
    const { label, der } = section;
    if (!LIKE_CRL.test(label)) continue;
    const where = placeOf(input, section);
    const refuse = (reason: string, cause?: unknown) => {
      const message = `Cannot read revocation list ${lists.length + 1}${location(where)}: ${reason}`;
      return new TlsReloadError("CRL_INVALID", message, { ...where, cause });
    };
    if (label !== LABEL) throw refuse(`the label must be ${LABEL}: ${quoteLabel(label)}`);
    try {
      lists.push(new CertificateRevocationList(der));
    } catch (error) {
      const { cause } = error as Error;
      throw refuse(reasonOf(cause), cause);
    }
  }
  if (lists.length === 0) throw noList(input, sections);
  return lists;
}

function noList(input: PemInput, sections: readonly PemSection[]): TlsReloadError {
  const path = pathOf(input);
  const message = `Cannot find a revocation list${location({ path })}: it holds ${contentOf(input, sections)}`;
  return new TlsReloadError("CRL_INVALID", message, { path });
}

function reasonOf(cause: unknown): string {
  return cause instanceof InvalidField ? cause.message : "it is not a certificate revocation list";
}
