import { contentOf, DerTag, type DerValue, readChildren, readDer, readOid, takeOptional } from "./der.ts";

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
export function readBoolean(value: DerValue | undefined): boolean {
  const content = contentOf(value, DerTag.boolean);
  if (content.length !== 1) throw new RangeError("a BOOLEAN in the certificate is broken");
  return content[0] !== 0;
}
