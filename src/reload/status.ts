import type { AuthorityStatus } from "../accept/authority_use.ts";
import type { DrainStatus } from "../accept/drain_tally.ts";
import type { Generation } from "../accept/live_connections.ts";
import type { CrlFacts } from "../x509/crl.ts";
import type { CertificateRole } from "./used_certificates.ts";

/** The status of a reloader, as {@linkcode Reloader.status} returns it. Plain data, without a secret. */
export interface ReloaderStatus {
  /** The number of swaps of the state. */
  readonly generation: number;
  /** SHA-256 of everything that is served, without the private keys: the same in all processes that serve the same. */
  readonly configDigest: string;
  /** SHA-256 of the trust in clients: the same in all processes that trust the same clients. */
  readonly trustDigest: string;
  /**
   * SHA-256 of the certificate in use, in upper-case hexadecimal with colons. If there are several, this field and the
   * next ones are of the default certificate.
   */
  readonly fingerprint256: string;
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** The DNS names and IP addresses that the certificate is valid for. */
  readonly names: readonly string[];
  /** The first moment of its validity. */
  readonly notBefore: Date;
  /** The last moment of its validity. */
  readonly notAfter: Date;
  /** The remaining validity; negative once the certificate has expired. */
  readonly secondsLeft: number;
  /** When the last reload began. */
  readonly lastAttempt: Date | undefined;
  /** When a reload last ended with a swap, or with no change. */
  readonly lastSuccess: Date | undefined;
  /** When the reloader last swapped in a configuration. */
  readonly lastSwap: Date | undefined;
  /** The error of the last rejected reload. Kept when a later reload succeeds. */
  readonly lastError: ReloadFailure | undefined;
  /** The parts of the source that the last reload could not load. Their previous certificates are kept. */
  readonly partialFailures: readonly ReloadFailure[];
  /** The number of rejected reloads since the last success. */
  readonly failuresInARow: number;
  /** The number of reloads by their outcome. */
  readonly reloads: {
    readonly swapped: number;
    readonly unchanged: number;
    readonly pending: number;
    readonly rejected: number;
  };
  /**
   * Whether the served configuration was that of the source at the last reading: `false` while a file is missing or
   * cannot be loaded, after a rejected reload, and after a swap that the reloader did not make. `undefined` before the
   * first reading.
   */
  readonly inSync: boolean | undefined;
  /** All certificates that are sent or trusted. */
  readonly certificates: readonly CertificateStatus[];
  /** The client authorities of the current and the previous configuration, and how clients use them. */
  readonly authorities: readonly AuthorityStatus[];
  /** The connections of each configuration in all servers of the state, oldest first. */
  readonly generations: readonly Generation[];
  /** The connections that swaps have ended. Those of native servers by handoff are not counted. */
  readonly drain: DrainStatus;
  /** The revocation lists in use. */
  readonly revocationLists: readonly CrlFacts[];
  /** The loaded certificate that is not valid yet. It is swapped in when its validity begins. */
  readonly pending: { readonly fingerprint256: string; readonly validFrom: Date } | undefined;
  /** The watched sets of files. */
  readonly watches: readonly WatchStatus[];
  /** The followed streams. */
  readonly streams: readonly FollowStatus[];
}

/** The state of a followed stream. */
export interface FollowStatus {
  /**
   * Whether the stream is connected. `undefined` between a subscription and its first item, because it is not known.
   */
  readonly connected: boolean | undefined;
  /** When the last subscription began. */
  readonly since: Date | undefined;
  /** The number of items. */
  readonly items: number;
  /** When the last item arrived. */
  readonly lastItem: Date | undefined;
  /** The number of renewed subscriptions. */
  readonly reconnects: number;
  /** The reason why the last subscription ended. Kept when the next one succeeds. */
  readonly lastError: string | undefined;
}

/** The error of a rejected reload, or of a part of one. */
export interface ReloadFailure {
  /** When it happened. */
  readonly at: Date;
  /** The code of the error, such as `KEY_MISMATCH`, if it has one. */
  readonly code: string | undefined;
  /** The message of the error. */
  readonly message: string;
}

/** A certificate in use. */
export interface CertificateStatus {
  /** The use of the certificate. */
  readonly role: CertificateRole;
  /** The subject (RFC 4514). */
  readonly subject: string;
  /** The DNS names and IP addresses that the certificate is valid for. */
  readonly names: readonly string[];
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** SHA-256 in upper-case hexadecimal with colons. */
  readonly fingerprint256: string;
  /** The first moment of its validity. */
  readonly notBefore: Date;
  /** The last moment of its validity. */
  readonly notAfter: Date;
}

/** The state of a watched set of files. */
export interface WatchStatus {
  /** The files and folders, as absolute paths. */
  readonly paths: readonly string[];
  /** The files that do not exist. */
  readonly missing: readonly string[];
  /** The latest modification time of the files. */
  readonly changedAt: Date | undefined;
  /** When the files were last read. */
  readonly checkedAt: Date | undefined;
  /** The reason why changes are noticed late or never, and the remedy; `undefined` if no problem is known. */
  readonly degraded: string | undefined;
}
