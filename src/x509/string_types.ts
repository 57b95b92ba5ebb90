import { Buffer } from "node:buffer";
import { DerTag, type DerValue } from "./der.ts";
import { InvalidField } from "./invalid_field.ts";

const MAX_CODE_POINT = 0x10ffff;

/** How each string type of X.680 section 8.4 that certificates use is decoded. */
const DECODERS: Readonly<Record<number, (bytes: Buffer) => string>> = {
  [DerTag.utf8String]: (bytes) => bytes.toString("utf8"),
  [DerTag.numericString]: (bytes) => bytes.toString("latin1"),
  [DerTag.printableString]: (bytes) => bytes.toString("latin1"),
  [DerTag.teletexString]: (bytes) => bytes.toString("latin1"),
  [DerTag.ia5String]: (bytes) => bytes.toString("latin1"),
  [DerTag.universalString]: (bytes) => codePointsOf(bytes).map(characterOf).join(""),
  [DerTag.bmpString]: utf16Of,
};

/**
 * Decodes a text for display; `undefined` if the value does not have one of the usual string types. Malformed UTF-8 and
 * UTF-32 become replacement characters.
 *
 * @throws {InvalidField} If a BMPString has half a character, which OpenSSL and BoringSSL refuse.
 */
export function displayText(value: DerValue | undefined): string | undefined {
  return value && DECODERS[value.tag]?.(Buffer.from(value.content));
}

/**
 * Decodes a text for comparison; `undefined` if the value does not have a string type.
 *
 * @throws {RangeError} If the text is malformed.
 */
export function exactText(value: DerValue): string | undefined {
  const bytes = Buffer.from(value.content);
  if (value.tag === DerTag.visibleString) return bytes.toString("latin1");
  if (value.tag === DerTag.universalString) {
    if (bytes.length % 4 !== 0) throw new RangeError("a text in the certificate is not UTF-32");
    return codePointsOf(bytes).map((point) => String.fromCodePoint(point)).join("");
  }
  const text = displayText(value);
  if (value.tag === DerTag.utf8String && !Buffer.from(text!).equals(bytes)) {
    throw new RangeError("a text in the certificate is not UTF-8");
  }
  return text;
}

/** Folds the case of ASCII letters only, as OpenSSL does, because the case of others depends on the Unicode version. */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase());
}

function utf16Of(bytes: Buffer): string {
  if (bytes.length % 2 !== 0) throw new InvalidField("a text in its names is not UTF-16");
  return Buffer.from(bytes).swap16().toString("utf16le");
}

function codePointsOf(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length >> 2 }, (_, index) => bytes.readUInt32BE(4 * index));
}

function characterOf(point: number): string {
  return String.fromCodePoint(point > MAX_CODE_POINT ? 0xfffd : point);
}
