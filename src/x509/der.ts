import { Buffer } from "node:buffer";

/** One value in DER (X.690 section 8.1). */
export interface DerValue {
  /** Class, form and number, as one byte. */
  readonly tag: number;
  /** The content. */
  readonly content: Uint8Array;
  /** All of it: tag, length and content. */
  readonly encoded: Uint8Array;
}

/** Universal tags (X.680 section 8.4). */
export const DerTag = { integer: 0x02, octetString: 0x04, oid: 0x06, sequence: 0x30 } as const;

/**
 * Reads the values that follow one another, to the last byte. Their content is not read.
 *
 * @param der The bytes.
 * @returns The values, in their order.
 * @throws {RangeError} If the last one is cut off, or a length is not in a form of DER.
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
 * @param der The bytes.
 * @returns The value.
 * @throws {RangeError} If it is cut off, or its length is not in a form of DER.
 */
export function readDerValue(der: Uint8Array): DerValue {
  return valueAt(der, 0);
}

/** By index: a view of the rest, and an iterator for its first bytes, take three times as long. */
function valueAt(der: Uint8Array, start: number): DerValue {
  const short = der[start + 1] ?? 0;
  const lengthBytes = short > 0x80 ? short - 0x80 : 0;
  if (short === 0x80 || lengthBytes > 4) throw new RangeError("a length in the DER has an unknown form");
  const first = start + 2 + lengthBytes;
  let length = short < 0x80 ? short : 0;
  for (let index = start + 2; index < first; index++) length = length * 256 + (der[index] ?? 0);
  const end = first + length;
  if (end > der.length) throw new RangeError("the DER is cut off");
  return { tag: der[start] ?? 0, content: der.subarray(first, end), encoded: der.subarray(start, end) };
}

/**
 * Writes a value.
 *
 * @param tag Its tag.
 * @param content The content.
 * @returns Tag, length and content (X.690 section 10.1).
 */
export function encodeDer(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  const digits = length.toString(16);
  const long = Buffer.from(digits.padStart(digits.length + digits.length % 2, "0"), "hex");
  return Buffer.concat([Buffer.from(length < 0x80 ? [tag, length] : [tag, 0x80 + long.length, ...long]), content]);
}

/**
 * Reads the values inside a value.
 *
 * @param value The value; `undefined` if it is missing.
 * @param tag The tag that it must have.
 * @returns The values inside.
 * @throws {RangeError} If it is missing, has another tag, or is broken.
 */
export function readChildren(value: DerValue | undefined, tag: number = DerTag.sequence): DerValue[] {
  return readDer(contentOf(value, tag));
}

/**
 * The content of a value.
 *
 * @param value The value; `undefined` if it is missing.
 * @param tag The tag that it must have.
 * @returns Its content.
 * @throws {RangeError} If it is missing or has another tag.
 */
export function contentOf(value: DerValue | undefined, tag: number): Uint8Array {
  if (value?.tag !== tag) throw new RangeError(`the DER holds tag ${value?.tag} where ${tag} should stand`);
  return value.content;
}

/**
 * Reads a number, in two's complement (X.690 section 8.3).
 *
 * @param value The value.
 * @returns The number, of any size.
 * @throws {RangeError} If it is not an INTEGER.
 */
export function readInteger(value: DerValue | undefined): bigint {
  const bytes = short(contentOf(value, DerTag.integer));
  return BigInt.asIntN(8 * bytes.length, bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n));
}

/**
 * Reads an object identifier (X.690 section 8.19).
 *
 * @param value The value.
 * @returns Its numbers with dots between them.
 * @throws {RangeError} If it is not an OBJECT IDENTIFIER.
 */
export function readOid(value: DerValue | undefined): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of short(contentOf(value, DerTag.oid))) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    // The first two numbers share one: the first is 0, 1 or 2, and only under 2 may the second exceed 39.
    if (arcs.length === 0) arcs.push(arc < 80n ? arc / 40n : 2n, arc < 80n ? arc % 40n : arc - 80n);
    else arcs.push(arc);
    arc = 0n;
  }
  return arcs.join(".");
}

/** Arithmetic on a hostile number of a megabyte would take minutes. */
function short(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0 || bytes.length > 64) throw new RangeError(`a number in the DER has ${bytes.length} bytes`);
  return bytes;
}
