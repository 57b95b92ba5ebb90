import { Buffer } from "node:buffer";
import { CertificateStructure } from "./certificate_structure.ts";
import { contentOf, DerTag, type DerValue, integerOf, readChildren, readDerValue, readOid } from "./der.ts";
import { distinguishedName } from "./distinguished_name.ts";
import { ipAddressText } from "./general_name.ts";
import { readTime } from "./time.ts";

/** The public facts of a certificate, as {@linkcode Certificate.toJSON} returns them. */
export interface CertificateFacts {
  /** The subject, such as `CN=www.example.com,O=Example` (RFC 4514). */
  readonly subject: string;
  /** The issuer, in the same form. */
  readonly issuer: string;
  /** The DNS names that the certificate is valid for (RFC 5280 section 4.2.1.6). */
  readonly dnsNames: readonly string[];
  /** The IP addresses that the certificate is valid for, in their canonical text (RFC 5952). */
  readonly ipAddresses: readonly string[];
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** The first moment of the validity. */
  readonly notBefore: Date;
  /** The last moment of the validity. */
  readonly notAfter: Date;
  /** SHA-256 of the DER in upper-case hexadecimal with colons, the form of `getPeerCertificate().fingerprint256`. */
  readonly fingerprint256: string;
}

/**
 * The fields of a certificate. They are read here because the runtimes format names in different ways, and one of them
 * ambiguously.
 */
export interface CertificateFields extends Omit<CertificateFacts, "notBefore" | "notAfter" | "fingerprint256"> {
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
  /** Whether the certificate has an issuerUniqueID or a subjectUniqueID (RFC 5280 section 4.1.2.8). */
  readonly hasUniqueId: boolean;
}

const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";
/** The context-specific tags of RFC 5280 section 4.2.1.6. */
const Tag = { dnsName: 0x82, ipAddress: 0x87 } as const;

/**
 * Reads the fields of an X.509 certificate (RFC 5280 section 4.1), which no byte may follow. Leaves all other parts to
 * the runtime.
 *
 * @throws {InvalidField} If a field breaks RFC 5280.
 * @throws {RangeError} If the bytes are not a certificate.
 */
export function readCertificateFields(der: Uint8Array): CertificateFields {
  const structure = new CertificateStructure(der);
  const [notBefore, notAfter] = readChildren(structure.validity);
  const names = alternativeNames(structure.extensions);
  return {
    subject: distinguishedName(structure.subject),
    issuer: distinguishedName(structure.issuer),
    dnsNames: names.filter(({ tag }) => tag === Tag.dnsName).map(({ content }) => latin1(content)),
    ipAddresses: names.filter(({ tag }) => tag === Tag.ipAddress).flatMap(({ content }) =>
      ipAddressText(content) ?? []
    ),
    serialNumber: hexadecimal(structure.serialNumber),
    notBefore: readTime("notBefore", notBefore),
    notAfter: readTime("notAfter", notAfter),
    hasUniqueId: structure.hasUniqueId,
  };
}

/** The runtime judges names of an unknown kind and bytes after the names. */
function alternativeNames(extensions: readonly DerValue[]): DerValue[] {
  const extension = extensions.map((each) => readChildren(each))
    .find(([id]) => readOid(id) === SUBJECT_ALTERNATIVE_NAME);
  if (!extension) return [];
  try {
    return readChildren(readDerValue(contentOf(extension.at(-1), DerTag.octetString)));
  } catch {
    return [];
  }
}

/** An even number of digits, as `openssl x509 -serial` prints it. */
function hexadecimal(content: Uint8Array): string {
  const value = integerOf(content);
  const digits = (value < 0n ? -value : value).toString(16).toUpperCase();
  return (value < 0n ? "-" : "") + digits.padStart(digits.length + digits.length % 2, "0");
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
