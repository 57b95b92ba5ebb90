import { type DerValue, readChildren, readDer, readOid } from "./der.ts";
import { hexOf } from "./octets.ts";
import { displayText } from "./string_types.ts";

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
 * Formats a Name as RFC 4514 section 2 does: the last attribute comes first. Like OpenSSL, also reverses the attributes
 * of one relative distinguished name.
 *
 * @param name The Name; `undefined` if it is missing.
 * @returns The text, such as `CN=www.example.com,O=Example`.
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
