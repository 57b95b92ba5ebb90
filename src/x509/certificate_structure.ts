import { contentOf, DerTag, type DerValue, readChildren, readDer, readInteger } from "./der.ts";

/** The parts of a certificate as they are encoded (RFC 5280 section 4.1): views into its DER. */
export interface CertificateStructure {
  /** The bytes that the issuer signed. */
  readonly signed: Uint8Array;
  /** 1, 2 or 3. */
  readonly version: number;
  /** The content of the serial number. */
  readonly serialNumber: Uint8Array;
  /** The Name of the issuer. */
  readonly issuer: DerValue;
  /** The first and the last moment of the validity. */
  readonly validity: DerValue;
  /** The Name of the subject. */
  readonly subject: DerValue;
  /** The SubjectPublicKeyInfo. */
  readonly publicKey: DerValue;
  /** The AlgorithmIdentifier of the signature, as it stands among the signed bytes. */
  readonly signedAlgorithm: DerValue;
  /** The same, as it stands before the signature. The two must be equal (RFC 5280 section 4.1.1.2). */
  readonly algorithm: DerValue;
  /** The signature. */
  readonly signature: Uint8Array;
  /** The extensions, each a SEQUENCE of identifier, criticality and value. */
  readonly extensions: readonly DerValue[];
}

/** The tags of a certificate that are no universal ones, and BIT STRING (RFC 5280 appendix A.1). */
const Tag = { version: 0xa0, extensions: 0xa3, bitString: 0x03 } as const;

/**
 * Splits a certificate into its parts. What the parts hold is left as it is.
 *
 * @param der The certificate, nothing before or after it.
 * @returns Its parts.
 * @throws {RangeError} If this is not a certificate.
 */
export function readStructure(der: Uint8Array): CertificateStructure {
  const [certificate, ...rest] = readDer(der);
  if (rest.length > 0) throw new RangeError("something follows the DER");
  const [signed, algorithm, signature, ...more] = readChildren(certificate);
  const fields = readChildren(signed);
  const version = fields[0]?.tag === Tag.version ? readVersion(fields.shift()) : 1;
  const [serial, signedAlgorithm, issuer, validity, subject, publicKey, ...optional] = fields;
  if (more.length > 0) throw new RangeError("something follows the signature");
  return {
    signed: signed!.encoded,
    version,
    serialNumber: contentOf(serial, DerTag.integer),
    issuer: required(issuer),
    validity: required(validity),
    subject: required(subject),
    publicKey: required(publicKey),
    signedAlgorithm: required(signedAlgorithm),
    algorithm: required(algorithm),
    signature: bitString(signature),
    extensions: readExtensionList(optional.find(({ tag }) => tag === Tag.extensions)),
  };
}

/**
 * Reads a BIT STRING that holds whole bytes.
 *
 * @param value The value; absent, where it should stand and does not.
 * @returns The bytes.
 * @throws {RangeError} If it is something else, or its last byte is not used up.
 */
export function bitString(value: DerValue | undefined): Uint8Array {
  const bytes = contentOf(value, Tag.bitString);
  if (bytes[0] !== 0) throw new RangeError("a BIT STRING in the certificate does not hold whole bytes");
  return bytes.subarray(1);
}

function readVersion(value: DerValue | undefined): number {
  const [number, ...rest] = readChildren(value, Tag.version);
  const version = Number(readInteger(number)) + 1;
  if (rest.length > 0 || version < 1 || version > 3) throw new RangeError("the certificate is of no known version");
  return version;
}

function readExtensionList(value: DerValue | undefined): DerValue[] {
  if (!value) return [];
  const [list, ...rest] = readDer(value.content);
  if (rest.length > 0) throw new RangeError("something follows the extensions");
  return readChildren(list);
}

function required(value: DerValue | undefined): DerValue {
  if (value?.tag !== DerTag.sequence) throw new RangeError("the certificate is cut off");
  return value;
}
