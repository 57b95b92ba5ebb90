import { Buffer } from "node:buffer";
import { DerTag, type DerValue } from "./der.ts";
import { InvalidField } from "./invalid_field.ts";

/**
 * Reads a time of a certificate or a revocation list (RFC 5280 section 4.1.2.5), in milliseconds since 1970.
 *
 * @throws {InvalidField} If the value is not a time of one of the two forms of RFC 5280.
 */
export function readTime(
  field: "notBefore" | "notAfter" | "thisUpdate" | "nextUpdate",
  value: DerValue | undefined,
): number {
  if (!isTime(value)) throw new InvalidField(`its ${field} is not a time`);
  const isShort = value.tag === DerTag.utcTime;
  const text = Buffer.from(value.content).toString("latin1");
  // A year of two digits lies between 1950 and 2049.
  const long = isShort ? (text < "50" ? "20" : "19") + text : text;
  const iso = long.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6.000Z");
  const date = Date.parse(iso);
  // Engines accept more, such as the 30th of February, and disagree about the result.
  if (iso === long || Number.isNaN(date) || new Date(date).toISOString() !== iso) {
    const form = isShort ? "YYMMDDHHMMSSZ" : "YYYYMMDDHHMMSSZ";
    throw new InvalidField(`its ${field} is not a time of the form ${form} (RFC 5280 section 4.1.2.5)`);
  }
  return date;
}

/** Whether a value has one of the two types of a time. */
function isTime(value: DerValue | undefined): value is DerValue {
  return value?.tag === DerTag.utcTime || value?.tag === DerTag.generalizedTime;
}
