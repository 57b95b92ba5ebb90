import { Buffer } from "node:buffer";

/** One value in DER (X.690 section 8.1). */
export interface DerValue {
  /** The class, form and number of the type, in one byte. */
  readonly tag: number;
  /** The content. */
  readonly content: Uint8Array;
  /** The whole value: tag, length and content. */
  readonly encoded: Uint8Array;
}

/** Universal tags (X.680 section 8.4). */
export const DerTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  numericString: 0x12,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  visibleString: 0x1a,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/**
 * Reads a sequence of values up to the last byte. Does not read their content.
 *
 * @throws {RangeError} If the last value is truncated, or a length does not have a form of DER.
 */
export function readDer(der: Uint8Array): DerValue[] {
  const values: DerValue[] = [];
  for (let start = 0; start < der.length;) {
    const value = valueAt(der, start);
    values.push(value);
    start += value.encoded.length;
  }
  return values;
}

/**
 * Reads the first value and ignores the bytes after it.
 *
 * @throws {RangeError} If the value is truncated, or its length does not have a form of DER.
 */
export function readDerValue(der: Uint8Array): DerValue {
  return valueAt(der, 0);
}

/** Reads by index, because a view of the rest and an iterator over its first bytes take three times as long. */
function valueAt(der: Uint8Array, start: number): DerValue {
  // Up to 0x7f this byte is the length; above 0x80 it is 0x80 plus the number of bytes of the length.
  const lengthByte = der[start + 1] ?? 0;
  const lengthBytes = lengthByte > 0x80 ? lengthByte - 0x80 : 0;
  if (lengthByte === 0x80 || lengthBytes > 4) throw new RangeError("a length in the DER has an unknown form");
  const first = start + 2 + lengthBytes;
  let length = lengthByte < 0x80 ? lengthByte : 0;
  for (let index = start + 2; index < first; index++) length = length * 256 + (der[index] ?? 0);
  const end = first + length;
  if (end > der.length) throw new RangeError("the DER is truncated");
  return { tag: der[start] ?? 0, content: der.subarray(first, end), encoded: der.subarray(start, end) };
}

/** Encodes a value (X.690 section 10.1). */
export function encodeDer(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  const digits = length.toString(16);
  const long = Buffer.from(digits.padStart(digits.length + digits.length % 2, "0"), "hex");
  return Buffer.concat([Buffer.from(length < 0x80 ? [tag, length] : [tag, 0x80 + long.length, ...long]), content]);
}

/**
 * Reads the values inside a value.
 *
 * @throws {RangeError} If the value is missing, has another tag, or is broken.
 */
export function readChildren(value: DerValue | undefined, tag: number = DerTag.sequence): DerValue[] {
  return readDer(contentOf(value, tag));
}

/**
 * Removes the first of several values if it has one of the tags. For the optional fields of a SEQUENCE, in their order.
 */
export function takeOptional(values: DerValue[], ...tags: readonly number[]): DerValue | undefined {
  const [first] = values;
  return first && tags.includes(first.tag) ? values.shift() : undefined;
}

/**
 * Returns the content of a value.
 *
 * @throws {RangeError} If the value is missing or has another tag.
 */
export function contentOf(value: DerValue | undefined, tag: number): Uint8Array {
  if (value?.tag !== tag) throw new RangeError(`the DER holds tag ${value?.tag} in place of ${tag}`);
  return value.content;
}

/**
 * Reads an INTEGER, which is a number in two's complement (X.690 section 8.3).
 *
 * @throws {RangeError} If the value is not an INTEGER, is empty, or is longer than 64 bytes.
 */
export function readInteger(value: DerValue | undefined): bigint {
  return integerOf(contentOf(value, DerTag.integer));
}

/** The number that the content of an INTEGER encodes; throws as {@linkcode readInteger} does. */
export function integerOf(content: Uint8Array): bigint {
  const bytes = requireShort(content);
  return BigInt.asIntN(8 * bytes.length, bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n));
}

/**
 * Reads an object identifier (X.690 section 8.19): its numbers, separated by dots.
 *
 * @throws {RangeError} If the value is not an OBJECT IDENTIFIER, is empty, or is longer than 64 bytes.
 */
export function readOid(value: DerValue | undefined): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of requireShort(contentOf(value, DerTag.oid))) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    // One number encodes the first two: the first is 0, 1 or 2, and the second exceeds 39 only if the first is 2.
    if (arcs.length === 0) arcs.push(arc < 80n ? arc / 40n : 2n, arc < 80n ? arc % 40n : arc - 80n);
    else arcs.push(arc);
    arc = 0n;
  }
  return arcs.join(".");
}

/** Refuses long numbers, because arithmetic on a hostile number of a megabyte takes minutes. */
function requireShort(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0 || bytes.length > 64) throw new RangeError(`a number in the DER has ${bytes.length} bytes`);
  return bytes;
}
