import { contentOf, DerTag, type DerValue, readChildren, readDer, readInteger, takeOptional } from "./der.ts";

/** The context-specific tags of RFC 5280 appendix A.1. */
const Tag = { version: 0xa0, issuerUniqueId: 0x81, subjectUniqueId: 0x82, extensions: 0xa3 } as const;
const PART_NAMES = [
  "signed",
  "version",
  "serialNumber",
  "signedAlgorithm",
  "issuer",
  "validity",
  "subject",
  "publicKey",
  "algorithm",
  "signature",
  "extensions",
] as const;

/**
 * The parts of a certificate as they are encoded (RFC 5280 section 4.1): views into its DER.
 *
 * Invariant: one value in DER holds all parts, with no byte after it. A getter throws a `RangeError` if its part is
 * missing or malformed, so a broken part that is not read does no harm. {@linkcode readStructure} reads all of them.
 */
export class CertificateStructure {
  readonly #parts: readonly DerValue[];
  readonly #version: DerValue | undefined;
  readonly #fields: readonly DerValue[];
  readonly #optional: readonly DerValue[];

  /**
   * Splits a certificate. No byte may stand before or after it.
   *
   * @throws {RangeError} If the bytes are not one value in DER that holds another one.
   */
  constructor(der: Uint8Array) {
    const [certificate, ...rest] = readDer(der);
    if (rest.length > 0) throw new RangeError("bytes follow the DER");
    this.#parts = readChildren(certificate);
    const fields = readChildren(this.#parts[0]);
    this.#version = takeOptional(fields, Tag.version);
    this.#fields = fields.slice(0, 6);
    this.#optional = fields.slice(6);
  }

  /** The bytes that the issuer has signed. */
  get signed(): Uint8Array {
    return this.#parts[0]!.encoded;
  }

  /** 1, 2 or 3. */
  get version(): number {
    if (!this.#version) return 1;
    const [number, ...rest] = readChildren(this.#version, Tag.version);
    const version = Number(readInteger(number)) + 1;
    if (rest.length > 0 || version < 1 || version > 3) throw new RangeError("the certificate has an unknown version");
    return version;
  }

  /** The content of the serial number. */
  get serialNumber(): Uint8Array {
    return contentOf(this.#fields[0], DerTag.integer);
  }

  /** The AlgorithmIdentifier of the signature, from the signed bytes. */
  get signedAlgorithm(): DerValue {
    return required(this.#fields[1]);
  }

  /** The Name of the issuer. */
  get issuer(): DerValue {
    return required(this.#fields[2]);
  }

  /** The first and the last moment of the validity. */
  get validity(): DerValue {
    return required(this.#fields[3]);
  }

  /** The Name of the subject. */
  get subject(): DerValue {
    return required(this.#fields[4]);
  }

  /** The SubjectPublicKeyInfo. */
  get publicKey(): DerValue {
    return required(this.#fields[5]);
  }

  /** The AlgorithmIdentifier before the signature. It must equal `signedAlgorithm` (RFC 5280 section 4.1.1.2). */
  get algorithm(): DerValue {
    return required(this.#parts[1]);
  }

  /** The signature. */
  get signature(): Uint8Array {
    if (this.#parts.length > 3) throw new RangeError("bytes follow the signature");
    return bitString(this.#parts[2]);
  }

  /** The extensions, each a SEQUENCE of identifier, criticality and value. */
  get extensions(): readonly DerValue[] {
    const value = this.#optional.find(({ tag }) => tag === Tag.extensions);
    if (!value) return [];
    const [list, ...rest] = readDer(value.content);
    if (rest.length > 0) throw new RangeError("bytes follow the extensions");
    return readChildren(list);
  }

  /** Whether the certificate has an issuerUniqueID or a subjectUniqueID (RFC 5280 section 4.1.2.8). */
  get hasUniqueId(): boolean {
    return this.#optional.some(({ tag }) => tag === Tag.issuerUniqueId || tag === Tag.subjectUniqueId);
  }
}

/**
 * Splits a certificate into its parts and checks each of them. Does not check the content of the parts.
 *
 * @throws {RangeError} If the bytes are not a certificate, or one of its parts is missing or malformed.
 */
export function readStructure(der: Uint8Array): CertificateStructure {
  const structure = new CertificateStructure(der);
  // Reading a part checks it.
  for (const name of PART_NAMES) structure[name];
  return structure;
}

/**
 * Reads a BIT STRING that holds whole bytes.
 *
 * @throws {RangeError} If the value is missing, is not a BIT STRING, or has unused bits.
 */
export function bitString(value: DerValue | undefined): Uint8Array {
  const bytes = contentOf(value, DerTag.bitString);
  if (bytes[0] !== 0) throw new RangeError("a BIT STRING in the certificate does not hold whole bytes");
  return bytes.subarray(1);
}

function required(value: DerValue | undefined): DerValue {
  contentOf(value, DerTag.sequence);
  return value!;
}
