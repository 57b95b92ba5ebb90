import { Buffer } from "node:buffer";
import { STRINGS } from "./certificate_fields.ts";
import { type DerValue, readChildren } from "./der.ts";

/** An attribute of a name. */
export interface NameAttribute {
  /** The content of its object identifier, in hexadecimal. */
  readonly type: string;
  /** Its value. */
  readonly value: DerValue;
}

const Tag = { set: 0x31, utf8String: 0x0c, numericString: 0x12, visibleString: 0x1a, universalString: 0x1c } as const;

/**
 * The attributes of a Name, those of each relative distinguished name together.
 *
 * @param name The Name.
 * @returns The relative distinguished names, in their order.
 * @throws {RangeError} If this is not a Name.
 */
export function readName(name: DerValue): NameAttribute[][] {
  return readChildren(name).map((rdn) =>
    readChildren(rdn, Tag.set).map((attribute) => {
      const [type, value, ...rest] = readChildren(attribute);
      if (!type || !value || rest.length > 0) throw new RangeError("an attribute in the certificate is broken");
      return { type: Buffer.from(type.content).toString("hex"), value };
    })
  );
}

/**
 * The relative distinguished names of a Name in a form in which equal ones are equal strings: RFC 5280 section 7.1
 * compares text in any encoding, without regard to case, and with white space folded.
 *
 * @param name The Name.
 * @returns One string for each relative distinguished name; none for an empty Name.
 * @throws {RangeError} If this is not a Name.
 */
export function canonicalName(name: DerValue): string[] {
  // Each part is preceded by its length, so that no value can be made to look like two.
  const prefixed = (text: string) => `${text.length}:${text}`;
  return readName(name).map((rdn) =>
    prefixed(rdn.map(({ type, value }) => prefixed(type) + prefixed(canonicalValue(value))).sort().join(""))
  );
}

/**
 * The text of an attribute.
 *
 * @param value Its value.
 * @returns The text; `undefined` if the value is of no string type.
 * @throws {RangeError} If it is not well-formed.
 */
export function attributeText(value: DerValue): string | undefined {
  const bytes = Buffer.from(value.content);
  if (value.tag === Tag.visibleString) return bytes.toString("latin1");
  if (value.tag === Tag.universalString) return universalText(bytes);
  const text = STRINGS[value.tag]?.(bytes);
  if (value.tag === Tag.utf8String && !Buffer.from(text!).equals(bytes)) {
    throw new RangeError("a text in the certificate is not UTF-8");
  }
  return text;
}

function universalText(bytes: Buffer): string {
  if (bytes.length % 4 !== 0) throw new RangeError("a text in the certificate is not UTF-32");
  const points = Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readUInt32BE(4 * index));
  return points.map((point) => String.fromCodePoint(point)).join("");
}

/** ASCII only, as OpenSSL does it: what lies beyond differs between versions of Unicode. */
function canonicalValue(value: DerValue): string {
  const text = value.tag === Tag.numericString ? undefined : attributeText(value);
  if (text === undefined) return `#${Buffer.from(value.encoded).toString("hex")}`;
  const lower = text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase());
  return `=${lower.replace(/[\t-\r ]+/g, " ").replace(/^ | $/g, "")}`;
}
