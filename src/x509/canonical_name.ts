import { Buffer } from "node:buffer";
import { DerTag, type DerValue, readChildren } from "./der.ts";
import { exactText } from "./string_types.ts";

/** An attribute of a name. */
export interface NameAttribute {
  /** The content of the object identifier, in hexadecimal. */
  readonly type: string;
  /** The value. */
  readonly value: DerValue;
}

/**
 * Reads the attributes of a Name, grouped by relative distinguished name.
 *
 * @param name The Name.
 * @returns The relative distinguished names, in their order.
 * @throws {RangeError} If the value is not a Name.
 */
export function readName(name: DerValue): NameAttribute[][] {
  return readChildren(name).map((rdn) =>
    readChildren(rdn, DerTag.set).map((attribute) => {
      const [type, value, ...rest] = readChildren(attribute);
      if (!type || !value || rest.length > 0) throw new RangeError("an attribute in the certificate is broken");
      return { type: Buffer.from(type.content).toString("hex"), value };
    })
  );
}

/**
 * Converts a Name to strings that are equal exactly if the Names are equal by RFC 5280 section 7.1: the encoding of a
 * text and the case of its letters do not count, and white space is folded.
 *
 * @param name The Name.
 * @returns One string for each relative distinguished name; an empty list for an empty Name.
 * @throws {RangeError} If the value is not a Name.
 */
export function canonicalName(name: DerValue): string[] {
  // The length before each part prevents that one value looks like two.
  const prefixed = (text: string) => `${text.length}:${text}`;
  return readName(name).map((rdn) =>
    prefixed(rdn.map(({ type, value }) => prefixed(type) + prefixed(canonicalValue(value))).sort().join(""))
  );
}

/** Folds the case of ASCII letters only, as OpenSSL does, because the case of others depends on the Unicode version. */
function canonicalValue(value: DerValue): string {
  const text = value.tag === DerTag.numericString ? undefined : exactText(value);
  if (text === undefined) return `#${Buffer.from(value.encoded).toString("hex")}`;
  const lower = text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase());
  return `=${lower.replace(/[\t-\r ]+/g, " ").replace(/^ | $/g, "")}`;
}
