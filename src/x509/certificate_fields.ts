import { Buffer } from "node:buffer";
import { contentOf, DerTag, type DerValue, readChildren, readDer, readDerValue, readInteger, readOid } from "./der.ts";

/** The fields of a certificate. The runtimes print these in different forms, and one of them ambiguously. */
export interface CertificateFields {
  readonly subject: string;
  readonly issuer: string;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly serialNumber: string;
  /** In milliseconds since 1970, as `notAfter`. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Whether it has an issuerUniqueID or a subjectUniqueID (RFC 5280 section 4.1.2.8). */
  readonly hasUniqueId: boolean;
}

/** A field of a certificate or a revocation list that cannot be used. Its message names the field and quotes no value. */
export class InvalidField extends RangeError {}

const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";
/** The context-specific tags of RFC 5280 section 4.1 and 4.2.1.6. */
const Tag = {
  version: 0xa0,
  issuerUniqueId: 0x81,
  subjectUniqueId: 0x82,
  extensions: 0xa3,
  dnsName: 0x82,
  ipAddress: 0x87,
  utcTime: 0x17,
  generalizedTime: 0x18,
};

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

/** The string types of X.680 section 8.4. */
export const STRINGS: Readonly<Record<number, (bytes: Buffer) => string>> = {
  0x0c: (bytes) => bytes.toString("utf8"), // UTF8String
  0x12: (bytes) => bytes.toString("latin1"), // NumericString
  0x13: (bytes) => bytes.toString("latin1"), // PrintableString
  0x14: (bytes) => bytes.toString("latin1"), // TeletexString
  0x16: (bytes) => bytes.toString("latin1"), // IA5String
  0x1c: (bytes) => utf32(bytes), // UniversalString
  0x1e: (bytes) => Buffer.from(bytes).swap16().toString("utf16le"), // BMPString
};

/**
 * Reads the fields of an X.509 certificate (RFC 5280 section 4.1).
 *
 * @param der The certificate, with no byte after it.
 * @returns Its fields.
 * @throws {InvalidField} If a field breaks RFC 5280.
 * @throws {RangeError} If this is not a certificate.
 */
export function readCertificateFields(der: Uint8Array): CertificateFields {
  const [certificate, ...rest] = readDer(der);
  if (rest.length > 0) throw new RangeError("bytes follow the DER");
  const fields = readChildren(readChildren(certificate)[0]);
  if (fields[0]?.tag === Tag.version) fields.shift();
  const [serial, , issuer, validity, subject, , ...optional] = fields;
  const [notBefore, notAfter] = readChildren(validity);
  const names = alternativeNames(optional.find(({ tag }) => tag === Tag.extensions));
  return {
    subject: distinguishedName(subject),
    issuer: distinguishedName(issuer),
    dnsNames: names.filter(({ tag }) => tag === Tag.dnsName).map(({ content }) => latin1(content)),
    ipAddresses: names.filter(({ tag }) => tag === Tag.ipAddress).flatMap(({ content }) => ipAddress(content)),
    serialNumber: hexadecimal(readInteger(serial)),
    notBefore: time("notBefore", notBefore),
    notAfter: time("notAfter", notAfter),
    hasUniqueId: optional.some(({ tag }) => tag === Tag.issuerUniqueId || tag === Tag.subjectUniqueId),
  };
}

/** Names of an unknown kind, and bytes after the names, are the runtime's to judge. */
function alternativeNames(extensions: DerValue | undefined): DerValue[] {
  if (!extensions) return [];
  const extension = readChildren(readDerValue(extensions.content)).map((extension) => readChildren(extension))
    .find(([id]) => readOid(id) === SUBJECT_ALTERNATIVE_NAME);
  if (!extension) return [];
  try {
    return readChildren(readDerValue(contentOf(extension.at(-1), DerTag.octetString)));
  } catch {
    return [];
  }
}

/** RFC 4514 section 2: the last attribute first; like OpenSSL, also within one relative name. */
export function distinguishedName(name: DerValue | undefined): string {
  return readChildren(name).map(({ content }) => readDer(content).map(attribute).reverse().join("+")).reverse().join(
    ",",
  );
}

function attribute(value: DerValue): string {
  const [type, text] = readChildren(value);
  const id = readOid(type);
  const name = ATTRIBUTES[id];
  const decode = STRINGS[text?.tag ?? 0];
  if (!text || !name || !decode) {
    return `${name ?? id}=#${Buffer.from(text?.encoded ?? []).toString("hex").toUpperCase()}`;
  }
  return `${name}=${escapeValue(decode(Buffer.from(text.content)))}`;
}

/** RFC 4514 section 2.4. Control characters, which would steer a terminal, are escaped as well. */
function escapeValue(text: string): string {
  return text
    .replace(/[,+"\\<>;]|^[ #]| $/g, "\\$&")
    // deno-lint-ignore no-control-regex -- these are the characters to escape
    .replace(/[\x00-\x1f\x7f]/g, (control) => `\\${control.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

/** An address of an unknown length matches no client's, so it is left out. */
export function ipAddress(bytes: Uint8Array): string[] {
  if (bytes.length === 4) return [bytes.join(".")];
  if (bytes.length !== 16) return [];
  const groups = Buffer.from(bytes).toString("hex").match(/.{4}/g)!.join(":");
  return [new URL(`http://[${groups}]`).hostname.slice(1, -1)];
}

/** An even number of digits, as `openssl x509 -serial` prints it. */
function hexadecimal(value: bigint): string {
  const digits = (value < 0n ? -value : value).toString(16).toUpperCase();
  return (value < 0n ? "-" : "") + digits.padStart(digits.length + digits.length % 2, "0");
}

/** RFC 5280 section 4.1.2.5: a year of two digits lies between 1950 and 2049. */
export function time(
  field: "notBefore" | "notAfter" | "thisUpdate" | "nextUpdate",
  value: DerValue | undefined,
): number {
  const isShort = value?.tag === Tag.utcTime;
  if (!isShort && value?.tag !== Tag.generalizedTime) throw new InvalidField(`its ${field} is not a time`);
  const text = latin1(value.content);
  const long = isShort ? (text < "50" ? "20" : "19") + text : text;
  const iso = long.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6.000Z");
  const date = Date.parse(iso);
  // Engines read much more, such as the 30th of February, and each of them something else.
  if (iso === long || Number.isNaN(date) || new Date(date).toISOString() !== iso) {
    const form = isShort ? "YYMMDDHHMMSSZ" : "YYYYMMDDHHMMSSZ";
    throw new InvalidField(`its ${field} is not a time of the form ${form} (RFC 5280 section 4.1.2.5)`);
  }
  return date;
}

/** Code points beyond Unicode become replacement characters. */
function utf32(bytes: Buffer): string {
  const points = Array.from({ length: bytes.length >> 2 }, (_, index) => bytes.readUInt32BE(4 * index));
  return points.map((point) => String.fromCodePoint(point > 0x10ffff ? 0xfffd : point)).join("");
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
