import { keyTypeOf } from "../config/key_kind.ts";
import type { TlsReloadErrorCode } from "../errors.ts";
import type { Finding, FindingCode, Severity } from "../findings/finding.ts";
import { isAtLeast } from "../findings/finding.ts";
import type { Certificate } from "../x509/certificate.ts";
import type { CertificateFacts } from "../x509/certificate_fields.ts";

/**
 * What is found about files and about a running server.
 *
 * | code | severity | found when |
 * | --- | --- | --- |
 * | `KEY_FILE_READABLE` | warning | every user of the machine can read the private key |
 * | `KEY_NOT_CHECKED` | note | the private key is encrypted, and no passphrase was given |
 * | `SERVER_UNREACHABLE` | error | no handshake with the server succeeds |
 * | `SERVED_OTHER_CERTIFICATE` | error | the server serves a different certificate |
 * | `SERVED_OTHER_CHAIN` | error | the server omits a certificate of the files, or sends another one (a warning) |
 * | `SERVED_OTHER_NAMES` | error | the served certificate does not cover a requested name |
 * | `SERVED_VERSION_OLD` | warning | the server accepts TLS 1.1 |
 * | `SERVED_VERSION_MISSING` | warning | the server does not accept TLS 1.3 |
 */
export type CheckCode =
  | "KEY_FILE_READABLE"
  | "KEY_NOT_CHECKED"
  | "SERVER_UNREACHABLE"
  | "SERVED_OTHER_CERTIFICATE"
  | "SERVED_OTHER_CHAIN"
  | "SERVED_OTHER_NAMES"
  | "SERVED_VERSION_OLD"
  | "SERVED_VERSION_MISSING";

/**
 * A finding of {@linkcode check}: about certificates, about files, or the code of the error that loading them ends
 * with.
 */
export type ReportFinding = Finding<FindingCode | CheckCode | TlsReloadErrorCode>;

/** What a certificate is there for. */
export type ReportRole = "server" | "intermediate" | "client authority";

/** A certificate that was checked. */
export interface ReportCertificate extends CertificateFacts {
  /** What it is there for. */
  readonly role: ReportRole;
  /** The type of its key, such as `rsa 2048` and `P-256`. */
  readonly keyType: string;
  /** The file that it was read from; `undefined` if it was not read from a file. */
  readonly source: string | undefined;
}

/** What a running server serves. */
export interface ServedFacts {
  /** Where it listens. */
  readonly address: string;
  /** The name that was asked for; absent if none was. */
  readonly serverName?: string;
  /** SHA-256 of what it sends, its own certificate first. */
  readonly fingerprints: readonly string[];
  /** The protocol versions that it accepts, of those that this runtime can ask for. */
  readonly versions: readonly string[];
}

/** What {@linkcode check} has found. `JSON.stringify()` gives the form of `src/check/report.schema.json`. */
export interface Report {
  /** The form of this report. It changes only when a field goes or gets another meaning. */
  readonly formatVersion: 1;
  /** The moment that validity was looked at for. */
  readonly checkedAt: Date;
  /** Whether `loadTlsConfig()` would accept every pair of certificate and key. */
  readonly isUsable: boolean;
  /** The certificates, in the order of the files. */
  readonly certificates: readonly ReportCertificate[];
  /** The findings, in the order of the files, of each file the worst first. */
  readonly findings: readonly ReportFinding[];
  /** What a running server serves, if it was asked. */
  readonly served?: readonly ServedFacts[];
}

/** A certificate with its role, for a report. */
export function describe(certificate: Certificate, role: ReportRole, source: string | undefined): ReportCertificate {
  return { role, ...certificate.toJSON(), keyType: keyTypeOf(certificate), source };
}

/** Whether a report holds a finding at or above a severity. */
export function hasAtLeast({ findings }: Report, threshold: Severity): boolean {
  return findings.some(({ severity }) => isAtLeast(severity, threshold));
}
