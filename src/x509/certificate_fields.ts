import { Buffer } from "node:buffer";
import { contentOf, DerTag, type DerValue, readChildren, readDer, readInteger, readOid } from "./der.ts";

/** What a certificate says of itself. The runtimes print these in different forms, and one of them ambiguously. */
export interface CertificateFields {
  readonly subject: string;
  readonly issuer: string;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly serialNumber: string;
  /** In milliseconds since 1970, as `notAfter`. */
  readonly notBefore: number;
  readonly notAfter: number;
}

const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";
/** The context-specific tags of RFC 5280 section 4.1 and 4.2.1.6. */
const Tag = { version: 0xa0, extensions: 0xa3, dnsName: 0x82, ipAddress: 0x87, utcTime: 0x17, generalizedTime: 0x18 };

/** What a general name may be: with another kind in it, an extension tells clients nothing. */
const GENERAL_NAMES = new Set([0xa0, 0x81, Tag.dnsName, 0xa3, 0xa4, 0xa5, 0x86, Tag.ipAddress, 0x88]);

/** The short names of RFC 4514 section 3, and two that certificates often hold besides. */
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

/** How the string types of X.680 section 8.4 are written. */
const STRINGS: Readonly<Record<number, (bytes: Buffer) => string>> = {
  0x0c: (bytes) => bytes.toString("utf8"), // UTF8String
  0x12: (bytes) => bytes.toString("latin1"), // NumericString
  0x13: (bytes) => bytes.toString("latin1"), // PrintableString
  0x14: (bytes) => bytes.toString("latin1"), // TeletexString
  0x16: (bytes) => bytes.toString("latin1"), // IA5String
  0x1e: (bytes) => Buffer.from(bytes).swap16().toString("utf16le"), // BMPString
};

/**
 * Reads the fields of an X.509 certificate (RFC 5280 section 4.1).
 *
 * @param der The certificate, nothing before or after it.
 * @returns Its fields.
 * @throws {RangeError} If it is none.
 */
export function readCertificateFields(der: Uint8Array): CertificateFields {
  const [certificate, ...rest] = readDer(der);
  if (rest.length > 0) throw new RangeError("something follows the DER");
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
    notBefore: time(notBefore),
    notAfter: time(notAfter),
  };
}

function alternativeNames(extensions: DerValue | undefined): DerValue[] {
  if (!extensions) return [];
  const [list] = readDer(extensions.content);
  const extension = readChildren(list).map((extension) => readChildren(extension))
    .find(([id]) => readOid(id) === SUBJECT_ALTERNATIVE_NAME);
  if (!extension) return [];
  const names = readChildren(readDer(contentOf(extension.at(-1), DerTag.octetString))[0]);
  if (names.every(({ tag }) => GENERAL_NAMES.has(tag))) return names;
  throw new RangeError("a name in the certificate is of no known kind");
}

/** RFC 4514 section 2: the last attribute first, as OpenSSL does it also among those that stand in one. */
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

/** RFC 4514 section 2.4; what would steer a terminal is escaped as well. */
function escapeValue(text: string): string {
  return text
    .replace(/[,+"\\<>;]|^[ #]| $/g, "\\$&")
    // deno-lint-ignore no-control-regex -- they are what is looked for
    .replace(/[\x00-\x1f\x7f]/g, (control) => `\\${control.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

/** None, if it is of no known length: it is valid for nothing then. */
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
function time(value: DerValue | undefined): number {
  const short = value?.tag === Tag.utcTime;
  const text = latin1(contentOf(value, short ? Tag.utcTime : Tag.generalizedTime));
  const long = short ? (text < "50" ? "20" : "19") + text : text;
  const iso = long.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6.000Z");
  const date = Date.parse(iso);
  // Engines read a good deal more, such as the 30th of February, and each of them something else.
  if (iso === long || Number.isNaN(date) || new Date(date).toISOString() !== iso) {
    throw new RangeError("a date in the certificate is none");
  }
  return date;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
