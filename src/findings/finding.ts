import type { Certificate } from "../x509/certificate.ts";

/**
 * The severity of a finding. With an error, handshakes with some clients fail. With a warning, they may fail, or will
 * fail soon. A note is for information.
 */
export type Severity = "error" | "warning" | "note";

/**
 * What was found, as a stable string.
 *
 * | code | severity | found when |
 * | --- | --- | --- |
 * | `INTERMEDIATE_MISSING` | error with roots, else warning or note | the certificate of an issuer is missing from the chain |
 * | `AUTHORITY_UNKNOWN` | error | the chain ends at a root that is not one of the given roots |
 * | `PATH_REFUSED` | error | every path to a root breaks a rule of RFC 5280 |
 * | `SIGNATURE_WRONG` | error | a signature does not match the key of its issuer in the chain |
 * | `CHAIN_DISORDERED` | warning | the certificates are out of order |
 * | `CHAIN_UNRELATED` | warning | a certificate is not part of the chain, or is a duplicate |
 * | `ROOT_SENT` | note | the chain contains a root, which no client needs |
 * | `CERTIFICATE_DEFECTIVE` | error | an extension is broken, or is critical and not understood |
 * | `EXPIRED` | error | a certificate has expired (a warning if another path to a root avoids it) |
 * | `NOT_YET_VALID` | error | a certificate is not valid yet |
 * | `EXPIRING` | warning | less than a fifth of the validity remains, and less than 30 days |
 * | `INTERMEDIATE_EXPIRES_FIRST` | warning | an intermediate expires before the server certificate |
 * | `LIFETIME_TOO_LONG` | warning | the validity exceeds what browsers accept from public authorities |
 * | `NO_SAN` | error | the certificate has no subjectAltName with a DNS name or an address |
 * | `NAME_NOT_COVERED` | error | the certificate does not cover a requested name |
 * | `WILDCARD_NARROW` | note | `*.example.com` does not cover `example.com`, and no other name does |
 * | `WILDCARD_UNUSABLE` | warning | a wildcard has a form that clients ignore |
 * | `EKU_WITHOUT_SERVER_AUTH` | error | the extendedKeyUsage lacks serverAuth |
 * | `LEAF_IS_AUTHORITY` | error | the server certificate is an authority certificate (`CA:TRUE`) |
 * | `KEY_USAGE_WITHOUT_DIGITAL_SIGNATURE` | error | the keyUsage lacks digitalSignature |
 * | `RSA_TOO_SHORT` | error | an RSA key has less than 2048 bits |
 * | `CURVE_WEAK` | error | the curve of a key is not P-256, P-384 or P-521 |
 * | `SIGNATURE_WEAK` | error | a certificate is signed with SHA-1 or MD5 |
 * | `NOT_STRICT` | warning | clients with `-x509_strict` refuse a certificate of the chain |
 * | `AUTHORITY_UNUSABLE` | error | the server cannot use a client authority, and refuses its clients |
 * | `AUTHORITY_EXPIRED`, `AUTHORITY_NOT_YET_VALID` | error | a client authority is not valid now |
 * | `AUTHORITY_EXPIRING` | warning | less than a fifth of the validity of a client authority remains, and less than 30 days |
 * | `AUTHORITY_NOT_STRICT` | warning | `-x509_strict` refuses a client authority |
 * | `CRL_STALE` | error | a revocation list is past its nextUpdate, or not valid yet |
 * | `CRL_EXPIRING` | warning | less than a fifth of the time to its nextUpdate remains, and less than 30 days |
 * | `CRL_FOREIGN` | error | a revocation list is not issued by a client authority |
 */
export type FindingCode =
  | "INTERMEDIATE_MISSING"
  | "AUTHORITY_UNKNOWN"
  | "PATH_REFUSED"
  | "SIGNATURE_WRONG"
  | "CHAIN_DISORDERED"
  | "CHAIN_UNRELATED"
  | "ROOT_SENT"
  | "CERTIFICATE_DEFECTIVE"
  | "EXPIRED"
  | "NOT_YET_VALID"
  | "EXPIRING"
  | "INTERMEDIATE_EXPIRES_FIRST"
  | "LIFETIME_TOO_LONG"
  | "NO_SAN"
  | "NAME_NOT_COVERED"
  | "WILDCARD_NARROW"
  | "WILDCARD_UNUSABLE"
  | "EKU_WITHOUT_SERVER_AUTH"
  | "LEAF_IS_AUTHORITY"
  | "KEY_USAGE_WITHOUT_DIGITAL_SIGNATURE"
  | "RSA_TOO_SHORT"
  | "CURVE_WEAK"
  | "SIGNATURE_WEAK"
  | "NOT_STRICT"
  | "AUTHORITY_UNUSABLE"
  | "AUTHORITY_EXPIRED"
  | "AUTHORITY_NOT_YET_VALID"
  | "AUTHORITY_EXPIRING"
  | "AUTHORITY_NOT_STRICT"
  | "CRL_STALE"
  | "CRL_EXPIRING"
  | "CRL_FOREIGN";

/** A problem that some clients have with a configuration. */
export interface Finding<Code extends string = FindingCode> {
  /** What was found. Match on this and never on the message. */
  readonly code: Code;
  /** The severity. */
  readonly severity: Severity;
  /** The certificate, revocation list or file, by its name. */
  readonly subject: string;
  /** What is wrong, and who is concerned. */
  readonly message: string;
  /** What to do. */
  readonly hint: string;
  /** The file that it was found in; `undefined` if it was not read from a file. */
  readonly source: string | undefined;
}

/** A finding of a rule, which does not know about files. */
export type RuleFinding = Omit<Finding, "source">;

/** One rule: a pure function of facts. */
export type Rule<Facts> = (facts: Facts) => readonly RuleFinding[];

const RANKS: Readonly<Record<Severity, number>> = { error: 2, warning: 1, note: 0 };

/** The rank of a severity: a higher number is worse. */
export function rankOf(severity: Severity): number {
  return RANKS[severity];
}

/** Whether a severity is at or above another one. */
export function isAtLeast(severity: Severity, threshold: Severity): boolean {
  return RANKS[severity] >= RANKS[threshold];
}

/** The name of a certificate for people: its subject, or its first name if the subject is empty. */
export function titleOf({ subject, dnsNames, ipAddresses }: Certificate): string {
  return subject || dnsNames[0] || ipAddresses[0] || "a certificate without a name";
}
