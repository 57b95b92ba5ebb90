import { Buffer } from "node:buffer";
import { DerTag, type DerValue, readChildren, readDerValue } from "./der.ts";

/** The format of a file in DER, by its outer tags. */
interface DerFormat {
  readonly name: string;
  /** The PEM label of the content; absent if the content must be extracted first. */
  readonly label?: string;
  /** The arguments of `openssl` that convert the file to PEM. They work on OpenSSL 3, also for old files. */
  readonly command: string;
}

/** By the tags of the values of the outer SEQUENCE in hexadecimal, then a dot, then those of its first SEQUENCE. */
const DER_FORMATS: readonly (readonly [tags: RegExp, format: DerFormat])[] = [
  [/^303003\.(?:a0)?0230303030/, {
    name: "a certificate in DER",
    label: "CERTIFICATE",
    command: "x509 -inform der -in FILE -out FILE.pem",
  }],
  [/^303003\.(?:02)?3030(?:17|18)/, {
    name: "a certificate revocation list in DER",
    label: "X509 CRL",
    command: "crl -inform der -in FILE -out FILE.pem",
  }],
  [/^303003\.023030a0/, {
    name: "a certificate request in DER",
    label: "CERTIFICATE REQUEST",
    command: "req -inform der -in FILE -out FILE.pem",
  }],
  [/^(?:023004|0202|0204)/, {
    name: "a private key in DER",
    label: "PRIVATE KEY",
    command: "pkey -inform der -in FILE -out FILE.pem",
  }],
  [/^3004\./, {
    name: "an encrypted private key in DER",
    label: "ENCRYPTED PRIVATE KEY",
    command: "pkcs8 -inform der -in FILE -out FILE.pem -provider legacy -provider default",
  }],
  [/^06a0/, { name: "PKCS#7 in DER", command: "pkcs7 -inform der -print_certs -in FILE -out FILE.pem" }],
  [/^0230(?:30)?\./, { name: "PKCS#12", command: "pkcs12 -in FILE -out FILE.pem -nodes -legacy" }],
];

/** The begin of a SEQUENCE with a length of several bytes (X.690 section 8.1). No text begins with it. */
const LONG_SEQUENCE = /^308[1-4]/;

/**
 * Recognises the format of a file in DER by its content; `undefined` if the file is not one whole DER value, or has an
 * unknown format.
 */
export function derFormatOf(bytes: Uint8Array): DerFormat | undefined {
  if (bytes[0] !== DerTag.sequence) return undefined;
  try {
    const value = readDerValue(bytes);
    if (value.encoded.length < bytes.length) return undefined;
    const children = readChildren(value);
    const [first] = children;
    const inner = first?.tag === DerTag.sequence ? readChildren(first) : [];
    // PKCS#12 begins with version 3, and every private key with version 0 or 1.
    const isPkcs12 = first?.tag === DerTag.integer && first.content[0] === 3;
    const tags = `${tagsOf(children)}.${tagsOf(inner)}`;
    const formats = isPkcs12 ? DER_FORMATS.slice(-1) : DER_FORMATS.slice(0, -1);
    return formats.find(([pattern]) => pattern.test(tags))?.[1];
  } catch {
    return undefined;
  }
}

function tagsOf(values: readonly DerValue[]): string {
  return Buffer.from(values.slice(0, 8).map(({ tag }) => tag)).toString("hex");
}

/**
 * Recognises formats that users mistake for PEM. Returns the format and the remedy, for a message; `undefined` for text
 * in UTF-8.
 */
export function foreignFormat(content: string | Uint8Array): string | undefined {
  if (typeof content === "string") {
    if (!content.includes("\0")) return undefined;
    return content.includes("-\0-\0") ? UTF16 : BINARY;
  }
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  const format = derFormatOf(bytes);
  if (format) return `this is ${format.name}; convert it with: openssl ${format.command}`;
  const start = bytes.toString("hex", 0, 2);
  const hasNul = Uint8Array.prototype.includes.call(bytes, 0);
  // UTF-16 may begin in the middle of a file, because some shells append it to a file in UTF-8.
  if (start === "fffe" || start === "feff" || (hasNul && bytes.includes("-\0-\0"))) return UTF16;
  if (LONG_SEQUENCE.test(start)) return "this is DER, but cut off, followed by other bytes, or of an unknown kind";
  return hasNul ? BINARY : undefined;
}

const UTF16 = "this is UTF-16; save it as UTF-8";
const BINARY = "this is binary, not text";
