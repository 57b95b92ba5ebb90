import { Buffer } from "node:buffer";
import { DerTag, type DerValue, readChildren, readDer, readOid } from "./der.ts";
import { hexOf } from "./octets.ts";
import { displayText, exactText, lowerAscii } from "./string_types.ts";

/** The short names of RFC 4514 section 3, and two more that are common in certificates. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "STREET",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "emailAddress",
};

/**
 * Formats a Name as RFC 4514 section 2 does, such as `CN=www.example.com,O=Example`: the last attribute comes first.
 * Like OpenSSL, also reverses the attributes of one relative distinguished name.
 *
 * @throws {RangeError} If the value is not a Name.
 */
export function distinguishedName(name: DerValue | undefined): string {
  const rdns = readChildren(name).map(({ content }) => readDer(content).map(attribute).reverse().join("+"));
  return rdns.reverse().join(",");
}

function attribute(encoded: DerValue): string {
  const [type, value] = readChildren(encoded);
  const id = readOid(type);
  const name = ATTRIBUTES[id];
  const text = displayText(value);
  if (name !== undefined && text !== undefined) return `${name}=${escapeValue(text)}`;
  return `${name ?? id}=#${hexOf(value?.encoded ?? new Uint8Array())}`;
}

/** RFC 4514 section 2.4. Escapes control characters as well, because a terminal interprets them. */
function escapeValue(text: string): string {
  return text
    .replace(/[,+"\\<>;]|^[ #]| $/g, "\\$&")
    // deno-lint-ignore no-control-regex -- these are the characters to escape
    .replace(/[\x00-\x1f\x7f]/g, (control) => `\\${control.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

/** An attribute of a name. */
interface NameAttribute {
  /** The content of the object identifier, in hexadecimal. */
  readonly type: string;
  /** The value. */
  readonly value: DerValue;
}

/**
 * Reads the attributes of a Name, grouped by relative distinguished name.
 *
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
 * Converts each relative distinguished name of a Name to a string. Two Names are equal by RFC 5280 section 7.1 exactly
 * if their strings are: the encoding of a text and the case of its letters do not count, and white space is folded.
 *
 * @throws {RangeError} If the value is not a Name.
 */
export function canonicalName(name: DerValue): string[] {
  // The length before each part prevents that one value looks like two.
  const prefixed = (text: string) => `${text.length}:${text}`;
  return readName(name).map((rdn) =>
    prefixed(rdn.map(({ type, value }) => prefixed(type) + prefixed(canonicalValue(value))).sort().join(""))
  );
}

function canonicalValue(value: DerValue): string {
  const text = value.tag === DerTag.numericString ? undefined : exactText(value);
  if (text === undefined) return `#${Buffer.from(value.encoded).toString("hex")}`;
  return `=${lowerAscii(text).replace(/[\t-\r ]+/g, " ").replace(/^ | $/g, "")}`;
}
