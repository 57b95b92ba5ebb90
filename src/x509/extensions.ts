import { Buffer } from "node:buffer";
import type { Certificate } from "./certificate.ts";
import { type CertificateStructure, readStructure } from "./certificate_structure.ts";
import { contentOf, DerTag, type DerValue, readChildren, readDer, readInteger, readOid } from "./der.ts";
import { type GeneralName, readGeneralName } from "./general_name.ts";

/** The extensions that are understood, by their names in RFC 5280 section 4.2.1. */
export const ExtensionId = {
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  authorityKeyIdentifier: "2.5.29.35",
  extKeyUsage: "2.5.29.37",
} as const;

/** Purposes of a key (RFC 5280 section 4.2.1.12). */
export const KeyPurpose = {
  any: "2.5.29.37.0",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** What a key may be used for, in the order of its bits (RFC 5280 section 4.2.1.3). */
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

/** What a key may be used for. */
export type KeyUsage = typeof KEY_USAGES[number];

/** An extension as it is encoded. */
export interface Extension {
  /** Its object identifier. */
  readonly id: string;
  /** Whether a certificate must be refused by who does not understand it. */
  readonly isCritical: boolean;
  /** The DER in its OCTET STRING. */
  readonly value: Uint8Array;
}

/** Whether a certificate is an authority (RFC 5280 section 4.2.1.9). */
export interface BasicConstraints {
  /** Whether it may issue certificates. */
  readonly isCa: boolean;
  /** How many intermediate certificates may follow it; `undefined` if there is no limit. */
  readonly maxPathLength: number | undefined;
}

/** Which certificate is the issuer's (RFC 5280 section 4.2.1.1). */
export interface AuthorityKeyIdentifier {
  /** Its subject key identifier, in upper-case hexadecimal. */
  readonly keyIdentifier: string | undefined;
  /** The names of its issuer. */
  readonly issuer: readonly GeneralName[] | undefined;
  /** The content of its serial number, in upper-case hexadecimal. */
  readonly serialNumber: string | undefined;
}

/** The names that an authority may issue for (RFC 5280 section 4.2.1.10). */
export interface NameConstraints {
  /** For each kind of name that stands here, a name must lie within one of these. */
  readonly permitted: readonly GeneralName[];
  /** No name may lie within one of these. */
  readonly excluded: readonly GeneralName[];
}

/** The context-specific tags within the extensions. */
const Tag = { permitted: 0xa0, excluded: 0xa1, minimum: 0x80, keyIdentifier: 0x80, issuer: 0xa1, serialNumber: 0x82 };
const BOOLEAN = 0x01;
const BIT_STRING = 0x03;

/**
 * The extensions of one certificate. Each is read when it is first asked for.
 *
 * A getter returns `undefined` where the certificate has no such extension and throws a `RangeError` where it has one
 * that is broken, so that a broken limit is never taken for none.
 */
export class CertificateExtensions {
  /** All of them, in their order. */
  readonly list: readonly Extension[];
  readonly #read = new Map<string, unknown>();

  /**
   * Reads the list.
   *
   * @param structure The parts of the certificate.
   * @throws {RangeError} If the list is broken, or an extension stands in it twice (RFC 5280 section 4.2).
   */
  constructor({ extensions }: Pick<CertificateStructure, "extensions">) {
    this.list = extensions.map(readExtension);
    if (new Set(this.list.map(({ id }) => id)).size < this.list.length) {
      throw new RangeError("an extension of the certificate is repeated");
    }
  }

  /** The identifiers of the critical extensions that are not understood here. */
  get unknownCritical(): readonly string[] {
    const known: readonly string[] = Object.values(ExtensionId);
    return this.list.filter(({ id, isCritical }) => isCritical && !known.includes(id)).map(({ id }) => id);
  }

  /** Whether the certificate is an authority. */
  get basicConstraints(): BasicConstraints | undefined {
    return this.#get("basicConstraints", readBasicConstraints);
  }

  /** What its key may be used for. */
  get keyUsage(): ReadonlySet<KeyUsage> | undefined {
    return this.#get("keyUsage", readKeyUsage);
  }

  /** The purposes of its key, as object identifiers; some are in {@linkcode KeyPurpose}. */
  get extendedKeyUsage(): readonly string[] | undefined {
    return this.#get("extKeyUsage", (value) => nonEmpty(readChildren(one(value))).map(readOid));
  }

  /** The identifier of its key, in upper-case hexadecimal. */
  get subjectKeyIdentifier(): string | undefined {
    return this.#get("subjectKeyIdentifier", (value) => hexadecimal(contentOf(one(value), DerTag.octetString)));
  }

  /** Which certificate is its issuer's. */
  get authorityKeyIdentifier(): AuthorityKeyIdentifier | undefined {
    return this.#get("authorityKeyIdentifier", readAuthorityKeyIdentifier);
  }

  /** The names that it may issue for. */
  get nameConstraints(): NameConstraints | undefined {
    return this.#get("nameConstraints", readNameConstraints);
  }

  /** The names that it is for beside its subject. */
  get subjectAltNames(): readonly GeneralName[] | undefined {
    return this.#get("subjectAltName", (value) => readChildren(one(value)).map(readGeneralName));
  }

  /** Whether an extension stands in the certificate and is critical. */
  isCritical(name: keyof typeof ExtensionId): boolean {
    return this.list.some(({ id, isCritical }) => id === ExtensionId[name] && isCritical);
  }

  #get<T>(name: keyof typeof ExtensionId, read: (value: Uint8Array) => T): T | undefined {
    if (!this.#read.has(name)) {
      const extension = this.list.find(({ id }) => id === ExtensionId[name]);
      this.#read.set(name, extension && read(extension.value));
    }
    return this.#read.get(name) as T | undefined;
  }
}

const extensionsByCertificate = new WeakMap<Certificate, CertificateExtensions>();

/**
 * The extensions of a certificate, read once.
 *
 * @param certificate The certificate.
 * @returns Its extensions.
 * @throws {RangeError} If their list is broken.
 */
export function extensionsOf(certificate: Certificate): CertificateExtensions {
  let extensions = extensionsByCertificate.get(certificate);
  if (!extensions) {
    extensions = new CertificateExtensions(readStructure(certificate.x509.raw));
    extensionsByCertificate.set(certificate, extensions);
  }
  return extensions;
}

/** Reads an extension, or throws a `RangeError` if it is broken. */
export function readExtension(value: DerValue): Extension {
  const [id, ...rest] = readChildren(value);
  const isCritical = rest[0]?.tag === BOOLEAN && readBoolean(rest.shift());
  if (rest.length !== 1) throw new RangeError("an extension of the certificate is broken");
  return { id: readOid(id), isCritical, value: contentOf(rest[0], DerTag.octetString) };
}

function readBasicConstraints(value: Uint8Array): BasicConstraints {
  const fields = readChildren(one(value));
  const isCa = fields[0]?.tag === BOOLEAN && readBoolean(fields.shift());
  const maxPathLength = fields.length > 0 ? Number(readInteger(fields.shift())) : undefined;
  if (fields.length > 0 || (maxPathLength ?? 0) < 0) throw new RangeError("basicConstraints is broken");
  return { isCa, maxPathLength };
}

function readKeyUsage(value: Uint8Array): ReadonlySet<KeyUsage> {
  const [unused = 8, ...bytes] = contentOf(one(value), BIT_STRING);
  const length = 8 * bytes.length - unused;
  if (unused > 7 || length < 0) throw new RangeError("keyUsage is broken");
  return new Set(KEY_USAGES.filter((_, bit) => bit < length && bytes[bit >> 3]! & (0x80 >> (bit & 7))));
}

function readAuthorityKeyIdentifier(value: Uint8Array): AuthorityKeyIdentifier {
  const fields = readChildren(one(value));
  if (fields.some(({ tag }) => tag !== Tag.keyIdentifier && tag !== Tag.issuer && tag !== Tag.serialNumber)) {
    throw new RangeError("authorityKeyIdentifier is broken");
  }
  const contentAt = (tag: number) => fields.find((field) => field.tag === tag)?.content;
  const [keyIdentifier, issuer, serialNumber] = [Tag.keyIdentifier, Tag.issuer, Tag.serialNumber].map(contentAt);
  return {
    keyIdentifier: keyIdentifier && hexadecimal(keyIdentifier),
    issuer: issuer && readDer(issuer).map(readGeneralName),
    serialNumber: serialNumber && hexadecimal(serialNumber),
  };
}

function readNameConstraints(value: Uint8Array): NameConstraints {
  const fields = nonEmpty(readChildren(one(value)));
  if (fields.some(({ tag }) => tag !== Tag.permitted && tag !== Tag.excluded)) {
    throw new RangeError("nameConstraints is broken");
  }
  const subtrees = (tag: number) => fields.filter((field) => field.tag === tag).flatMap((field) => readSubtrees(field));
  return { permitted: subtrees(Tag.permitted), excluded: subtrees(Tag.excluded) };
}

/** RFC 5280 section 4.2.1.10: minimum is 0 and maximum is absent. */
function readSubtrees({ content }: DerValue): GeneralName[] {
  return nonEmpty(readDer(content)).map((subtree) => {
    const [base, ...limits] = readChildren(subtree);
    if (!base || limits.some(({ tag, content }) => tag !== Tag.minimum || content.some((byte) => byte !== 0))) {
      throw new RangeError("nameConstraints has a distance");
    }
    return readGeneralName(base);
  });
}

/** X.690 section 8.2: one byte, of which everything but zero is true. */
function readBoolean(value: DerValue | undefined): boolean {
  const content = contentOf(value, BOOLEAN);
  if (content.length !== 1) throw new RangeError("a BOOLEAN in the certificate is broken");
  return content[0] !== 0;
}

function one(der: Uint8Array): DerValue | undefined {
  const [value, ...rest] = readDer(der);
  if (rest.length > 0) throw new RangeError("something follows the value of an extension");
  return value;
}

function nonEmpty(values: DerValue[]): DerValue[] {
  if (values.length === 0) throw new RangeError("an extension of the certificate is empty");
  return values;
}

function hexadecimal(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").toUpperCase();
}
