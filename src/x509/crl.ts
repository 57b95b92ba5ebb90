import { location, TlsReloadError } from "../errors.ts";
import { readSignatureAlgorithm } from "./algorithms.ts";
import { canonicalName } from "./canonical_name.ts";
import type { Certificate } from "./certificate.ts";
import { bitString } from "./certificate_structure.ts";
import { contentOf, DerTag, type DerValue, readChildren, readDer, readDerValue, readInteger } from "./der.ts";
import { distinguishedName } from "./distinguished_name.ts";
import { type Extension, readExtension } from "./extension.ts";
import { InvalidField } from "./invalid_field.ts";
import { hexOf } from "./octets.ts";
import { PathCertificate } from "./path_certificate.ts";
import { labelsOf, pathOf, type PemInput, placeOf, readSections } from "./pem.ts";
import { quoteLabel } from "./pem_scanner.ts";
import { RevokedSerials } from "./revoked_serials.ts";
import { type SignedData, signedDataFault, weaknessOf } from "./signatures.ts";
import { isTime, readTime } from "./time.ts";

/** The size up to which files of revocation lists are read: that of some 1,500,000 entries. */
export const MAX_CRL_BYTES = 64 * 1024 * 1024;

const LABEL = "X509 CRL";
const LIKE_CRL = /\bCRL$/i;
/** The context-specific tags of RFC 5280 sections 5.1 and 5.2. */
const Tag = { extensions: 0xa0, keyIdentifier: 0x80, indirect: 0x84 } as const;
const ExtensionId = {
  crlNumber: "2.5.29.20",
  deltaCrlIndicator: "2.5.29.27",
  issuingDistributionPoint: "2.5.29.28",
  authorityKeyIdentifier: "2.5.29.35",
} as const;

/**
 * A certificate revocation list (RFC 5280 section 5): the serial numbers that an authority has revoked. Immutable.
 *
 * Invariant: it is complete for its issuer, because delta CRLs, indirect CRLs and those of a part of the certificates
 * are refused. Its signature counts only after {@linkcode CertificateRevocationList.verify}.
 */
export class CertificateRevocationList {
  /** The issuer, such as `CN=Example CA,O=Example` (RFC 4514). */
  readonly issuer: string;
  /** The issuer as a key: equal for names that RFC 5280 section 7.1 calls equal. */
  readonly issuerKey: string;
  /** The key identifier of the issuer in upper-case hexadecimal (RFC 5280 section 5.2.1); `undefined` if not given. */
  readonly authorityKeyIdentifier: string | undefined;
  /** The number of the list in upper-case hexadecimal (RFC 5280 section 5.2.3); `undefined` if not given. */
  readonly crlNumber: string | undefined;
  readonly #thisUpdate: number;
  readonly #nextUpdate: number | undefined;
  readonly #serials: RevokedSerials;
  readonly #signed: SignedData;

  /**
   * Reads one list.
   *
   * @param der The list in DER, with no byte after it.
   * @throws {TlsReloadError} `CRL_INVALID` if this is not a list, or one of a kind that is refused, which is named.
   */
  constructor(der: Uint8Array) {
    try {
      const [list, ...rest] = readDer(der);
      const [tbs, algorithm, signature, ...more] = readChildren(list);
      if (!tbs || !algorithm || rest.length + more.length > 0) throw new RangeError("it does not have three parts");
      const fields = readChildren(tbs);
      const version = fields[0]?.tag === DerTag.integer ? readInteger(fields.shift()) : 0n;
      if (version > 1n) throw new InvalidField("its version is not 1 or 2");
      const [signedAlgorithm, issuer, thisUpdate, ...optional] = fields;
      const nextUpdate = isTime(optional[0]) ? optional.shift() : undefined;
      const entries = optional[0]?.tag === DerTag.sequence ? optional.shift()!.content : new Uint8Array();
      const extensions = optional[0]?.tag === Tag.extensions ? readExtensions(optional.shift()!) : new Map();
      if (!signedAlgorithm || !issuer || optional.length > 0) throw new RangeError("it has unknown fields");

      this.issuer = distinguishedName(issuer);
      this.issuerKey = canonicalName(issuer).join("");
      this.#thisUpdate = readTime("thisUpdate", thisUpdate);
      this.#nextUpdate = nextUpdate && readTime("nextUpdate", nextUpdate);
      this.authorityKeyIdentifier = keyIdentifier(extensions.get(ExtensionId.authorityKeyIdentifier)?.value);
      this.crlNumber = number(extensions.get(ExtensionId.crlNumber)?.value);
      this.#serials = new RevokedSerials(entries);
      this.#signed = {
        // A copy, so that the list does not keep all of its bytes once it is verified.
        structure: { signed: tbs.encoded, algorithm, signedAlgorithm, signature: bitString(signature) },
        signatureAlgorithm: readSignatureAlgorithm(algorithm),
      };
    } catch (cause) {
      throw new TlsReloadError("CRL_INVALID", `Cannot read revocation list: ${reasonOf(cause)}`, { cause });
    }
    Object.freeze(this);
  }

  /** The time of its issue. */
  get thisUpdate(): Date {
    return new Date(this.#thisUpdate);
  }

  /** The time by which the next list is issued; `undefined` if it does not say, which RFC 5280 does not allow. */
  get nextUpdate(): Date | undefined {
    return this.#nextUpdate === undefined ? undefined : new Date(this.#nextUpdate);
  }

  /** How many serial numbers are revoked. */
  get size(): number {
    return this.#serials.size;
  }

  /**
   * Whether a moment lies between `thisUpdate` and `nextUpdate`.
   *
   * @param at The moment.
   * @default {new Date()}
   */
  isCurrentAt(at: Date = new Date()): boolean {
    return this.#thisUpdate <= at.getTime() && at.getTime() <= (this.#nextUpdate ?? Infinity);
  }

  /**
   * Whether a serial number is revoked. Takes the same time for lists of any size.
   *
   * @param serialNumber The number in hexadecimal, as {@linkcode Certificate.serialNumber}.
   */
  isRevoked(serialNumber: string): boolean {
    return this.#serials.has(serialNumber);
  }

  /**
   * Whether a certificate can be the issuer, by its name and key identifier. The signature is not verified.
   *
   * @param certificate The certificate of an authority.
   */
  names(certificate: PathCertificate): boolean {
    const { subjectKeyIdentifier } = certificate.extensions;
    const wanted = this.authorityKeyIdentifier;
    return certificate.subjectKey === this.issuerKey &&
      (wanted === undefined || subjectKeyIdentifier === undefined || wanted === subjectKeyIdentifier);
  }

  /**
   * Verifies that an authority has issued the list: by its name, its right to sign lists, and its signature, which must
   * not be made with SHA-1 or MD5.
   *
   * @param issuer The certificate of the authority.
   * @throws {TlsReloadError} `CRL_INVALID`, with the reason.
   */
  verify(issuer: Certificate): void {
    const fault = this.faultFor(new PathCertificate(new Uint8Array(issuer.x509.raw), issuer.fingerprint256));
    if (fault) throw new TlsReloadError("CRL_INVALID", `Cannot use revocation list of "${this.issuer}": ${fault}`);
  }

  /**
   * Finds why the list is not one of an authority, as {@linkcode CertificateRevocationList.verify} does.
   *
   * @param issuer The certificate of the authority.
   * @returns The reason, or `undefined` if there is none.
   */
  faultFor(issuer: PathCertificate): string | undefined {
    if (!this.names(issuer)) return `it is not of the authority "${issuer.subject}"`;
    const { keyUsage } = issuer.extensions;
    // RFC 5280 section 6.3.3 (f).
    if (keyUsage && !keyUsage.has("cRLSign")) return "the key usage of the authority lacks cRLSign";
    return weaknessOf(issuer) ?? signedDataFault(this.#signed, issuer);
  }
}

/**
 * Reads all certificate revocation lists of a file, in their order. Sections of other kinds are ignored.
 *
 * @param input PEM as text or bytes, one list in DER, or a file that has been read.
 * @returns At least one list: all of them or an error.
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
  if (lists.length > 0) return lists;
  const path = pathOf(input);
  const message = `Cannot find a revocation list${location({ path })}: it holds ${labelsOf(sections)}`;
  throw new TlsReloadError("CRL_INVALID", message, { path });
}

function reasonOf(cause: unknown): string {
  return cause instanceof InvalidField ? cause.message : "it is not a certificate revocation list";
}

/** RFC 5280 section 5.2. A list whose critical extensions are not understood says nothing about any certificate. */
function readExtensions({ content }: DerValue): Map<string, Extension> {
  const known: readonly string[] = Object.values(ExtensionId);
  const extensions = new Map<string, Extension>();
  for (const extension of readChildren(readDerValue(content)).map(readExtension)) {
    const { id, isCritical, value } = extension;
    if (extensions.has(id)) throw new RangeError("an extension is repeated");
    if (id === ExtensionId.deltaCrlIndicator) {
      throw new InvalidField("delta CRLs (deltaCRLIndicator) are not supported");
    }
    if (id === ExtensionId.issuingDistributionPoint) {
      const isIndirect = readChildren(readDerValue(value)).some(({ tag, content }) =>
        tag === Tag.indirect && content[0]
      );
      throw new InvalidField(
        isIndirect
          ? "indirect CRLs (indirectCRL of issuingDistributionPoint) are not supported"
          : "CRLs of a part of the certificates (issuingDistributionPoint) are not supported",
      );
    }
    if (isCritical && !known.includes(id)) throw new InvalidField(`its critical extension ${id} is not known`);
    extensions.set(id, extension);
  }
  return extensions;
}

function keyIdentifier(value: Uint8Array | undefined): string | undefined {
  const identifier = value && readChildren(readDerValue(value)).find(({ tag }) => tag === Tag.keyIdentifier);
  return identifier && hexOf(identifier.content);
}

function number(value: Uint8Array | undefined): string | undefined {
  return value && hexOf(contentOf(readDerValue(value), DerTag.integer));
}
