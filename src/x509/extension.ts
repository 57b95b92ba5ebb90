import { contentOf, DerTag, type DerValue, readChildren, readDer, readInteger, readOid, takeOptional } from "./der.ts";
import { type GeneralName, readGeneralName } from "./general_name.ts";
import { hexOf } from "./octets.ts";

/** An extension of a certificate or a revocation list as it is encoded. */
export interface Extension {
  /** The object identifier. */
  readonly id: string;
  /** Whether a reader that does not understand the extension must refuse the whole. */
  readonly isCritical: boolean;
  /** The value in DER, the content of the OCTET STRING. */
  readonly value: Uint8Array;
}

/** Reads an extension, or throws a `RangeError` if it is malformed. */
export function readExtension(value: DerValue): Extension {
  const [id, ...rest] = readChildren(value);
  const critical = takeOptional(rest, DerTag.boolean);
  const isCritical = critical !== undefined && readBoolean(critical);
  if (rest.length !== 1) throw new RangeError("an extension of the certificate is broken");
  return { id: readOid(id), isCritical, value: contentOf(rest[0], DerTag.octetString) };
}

/** The one value in DER of an extension. Throws a `RangeError` if bytes follow it. */
export function valueOf({ value }: Extension): DerValue | undefined {
  const [first, ...rest] = readDer(value);
  if (rest.length > 0) throw new RangeError("bytes follow the value of an extension");
  return first;
}

/** Reads a BOOLEAN (X.690 section 8.2): one byte, and every byte except zero is true. */
function readBoolean(value: DerValue | undefined): boolean {
  const content = contentOf(value, DerTag.boolean);
  if (content.length !== 1) throw new RangeError("a BOOLEAN in the certificate is broken");
  return content[0] !== 0;
}

/** The usages of a key, in the order of their bits (RFC 5280 section 4.2.1.3). */
const KEY_USAGES = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;

/** A usage of a key. */
export type KeyUsage = typeof KEY_USAGES[number];

/** Whether a certificate is an authority (RFC 5280 section 4.2.1.9). */
export interface BasicConstraints {
  /** Whether the certificate may issue others. */
  readonly isCa: boolean;
  /** The maximum number of intermediate certificates below this one; `undefined` if there is no limit. */
  readonly maxPathLength: number | undefined;
}

/** Identifies the certificate of the issuer (RFC 5280 section 4.2.1.1). */
export interface AuthorityKeyIdentifier {
  /** The subject key identifier of the issuer, in upper-case hexadecimal. */
  readonly keyIdentifier: string | undefined;
  /** The names of the issuer of the issuer. */
  readonly issuer: readonly GeneralName[] | undefined;
  /** The content of the serial number of the issuer, in upper-case hexadecimal. */
  readonly serialNumber: string | undefined;
}

/** The names that an authority may issue for (RFC 5280 section 4.2.1.10). */
export interface NameConstraints {
  /** A name must lie within one of the subtrees of its kind, if there is one of its kind. */
  readonly permitted: readonly GeneralName[];
  /** A name must not lie within one of these subtrees. */
  readonly excluded: readonly GeneralName[];
}

/** The context-specific tags within the extensions. */
const Tag = { permitted: 0xa0, excluded: 0xa1, minimum: 0x80, keyIdentifier: 0x80, issuer: 0xa1, serialNumber: 0x82 };

/** Reads basicConstraints (RFC 5280 section 4.2.1.9), or throws a `RangeError` if the value is malformed. */
export function readBasicConstraints(value: DerValue | undefined): BasicConstraints {
  const fields = readChildren(value);
  const ca = takeOptional(fields, DerTag.boolean);
  const pathLength = takeOptional(fields, DerTag.integer);
  if (fields.length > 0) throw new RangeError("basicConstraints is broken");
  const maxPathLength = pathLength && Number(readInteger(pathLength));
  if (maxPathLength !== undefined && maxPathLength < 0) throw new RangeError("basicConstraints is broken");
  return { isCa: ca !== undefined && readBoolean(ca), maxPathLength };
}

/** Reads keyUsage (RFC 5280 section 4.2.1.3), or throws a `RangeError` if the value is malformed. */
export function readKeyUsage(value: DerValue | undefined): ReadonlySet<KeyUsage> {
  const [unused = 8, ...bytes] = contentOf(value, DerTag.bitString);
  const length = 8 * bytes.length - unused;
  if (unused > 7 || length < 0) throw new RangeError("keyUsage is broken");
  return new Set(KEY_USAGES.filter((_, bit) => bit < length && bytes[bit >> 3]! & (0x80 >> (bit & 7))));
}

/** Reads authorityKeyIdentifier (RFC 5280 section 4.2.1.1), or throws a `RangeError` if the value is malformed. */
export function readAuthorityKeyIdentifier(value: DerValue | undefined): AuthorityKeyIdentifier {
  const fields = readChildren(value);
  if (fields.some(({ tag }) => tag !== Tag.keyIdentifier && tag !== Tag.issuer && tag !== Tag.serialNumber)) {
    throw new RangeError("authorityKeyIdentifier is broken");
  }
  const contentAt = (tag: number) => fields.find((field) => field.tag === tag)?.content;
  const [keyIdentifier, issuer, serialNumber] = [Tag.keyIdentifier, Tag.issuer, Tag.serialNumber].map(contentAt);
  return {
    keyIdentifier: keyIdentifier && hexOf(keyIdentifier),
    issuer: issuer && readDer(issuer).map(readGeneralName),
    serialNumber: serialNumber && hexOf(serialNumber),
  };
}

/** Reads nameConstraints (RFC 5280 section 4.2.1.10), or throws a `RangeError` if the value is malformed. */
export function readNameConstraints(value: DerValue | undefined): NameConstraints {
  const fields = nonEmpty(readChildren(value));
  if (fields.some(({ tag }) => tag !== Tag.permitted && tag !== Tag.excluded)) {
    throw new RangeError("nameConstraints is broken");
  }
  const subtrees = (tag: number) => fields.filter((field) => field.tag === tag).flatMap((field) => readSubtrees(field));
  return { permitted: subtrees(Tag.permitted), excluded: subtrees(Tag.excluded) };
}

/** Reads a list of object identifiers: the purposes of a key (RFC 5280 section 4.2.1.12). */
export function readExtendedKeyUsage(value: DerValue | undefined): readonly string[] {
  return nonEmpty(readChildren(value)).map(readOid);
}

/** Reads a key identifier in upper-case hexadecimal (RFC 5280 section 4.2.1.2). */
export function readSubjectKeyIdentifier(value: DerValue | undefined): string {
  return hexOf(contentOf(value, DerTag.octetString));
}

/** Reads a list of names (RFC 5280 section 4.2.1.6). */
export function readSubjectAltNames(value: DerValue | undefined): readonly GeneralName[] {
  return readChildren(value).map(readGeneralName);
}

/** RFC 5280 section 4.2.1.10: the minimum is 0 and the maximum is absent. */
function readSubtrees({ content }: DerValue): GeneralName[] {
  return nonEmpty(readDer(content)).map((subtree) => {
    const [base, ...limits] = readChildren(subtree);
    if (!base || limits.some(({ tag, content }) => tag !== Tag.minimum || content.some((byte) => byte !== 0))) {
      throw new RangeError("nameConstraints has a distance");
    }
    return readGeneralName(base);
  });
}

function nonEmpty(values: DerValue[]): DerValue[] {
  if (values.length === 0) throw new RangeError("an extension of the certificate is empty");
  return values;
}
