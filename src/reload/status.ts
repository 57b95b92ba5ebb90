import type { CertificateRole } from "./used_certificates.ts";

/** The status of a reloader, as {@linkcode Reloader.status} returns it. Plain data, without a secret. */
export interface ReloaderStatus {
  /** How many times the configuration of the state has been replaced. */
  readonly generation: number;
  /** SHA-256 of what is served, without the private key: the same in all processes that serve the same. */
  readonly configDigest: string;
  /** SHA-256 of which clients are trusted: the same in all processes that trust the same. */
  readonly trustDigest: string;
  /** SHA-256 of the certificate in use, in upper-case hexadecimal with colons. With several, all fields are of the default. */
  readonly fingerprint256: string;
  /** The serial number in upper-case hexadecimal. */
  readonly serialNumber: string;
  /** The DNS names and IP addresses that the certificate is valid for. */
  readonly names: readonly string[];
  /** The first moment of its validity. */
  readonly notBefore: Date;
  /** The last moment of its validity. */
  readonly notAfter: Date;
  /** How long the certificate stays valid; negative once it has expired. */
  readonly secondsLeft: number;
  /** When the last reload began. */
  readonly lastAttempt: Date | undefined;
  /** When a reload last ended with a swap, or with no change. */
  readonly lastSuccess: Date | undefined;
  /** When the reloader last swapped in a configuration. */
  readonly lastSwap: Date | undefined;
  /** The error of the last rejected reload. Kept when a later reload succeeds. */
  readonly lastError: ReloadFailure | undefined;
  /** How many reloads have been rejected since the last success. */
  readonly failuresInARow: number;
  /** The number of reloads by their outcome. */
  readonly reloads: {
    readonly swapped: number;
    readonly unchanged: number;
    readonly pending: number;
    readonly rejected: number;
  };
  /**
   * Whether the served configuration is the one that the source held when it was last read: `false` while a file is
   * missing, after a rejected reload, and after a swap that the reloader did not make. `undefined` before the first read.
   */
  readonly inSync: boolean | undefined;
  /** Every certificate that is sent or trusted. */
  readonly certificates: readonly CertificateStatus[];
  /** The certificate that is loaded and waits for its validity to begin. Then it is swapped in. */
  readonly pending: { readonly fingerprint256: string; readonly validFrom: Date } | undefined;
  /** The watched sets of files. */
  readonly watches: readonly WatchStatus[];
  /** The followed streams. */
  readonly streams: readonly FollowStatus[];
}

/** The state of a followed stream. */
export interface FollowStatus {
  /** Whether the stream is connected. `undefined` from a subscription until its first item: the source may be trying. */
  readonly connected: boolean | undefined;
  /** When the last subscription began. */
  readonly since: Date | undefined;
  /** How many items there have been. */
  readonly items: number;
  /** When the last item came. */
  readonly lastItem: Date | undefined;
  /** How many times the stream was subscribed to again. */
  readonly reconnects: number;
  /** Why the last subscription ended. Kept when the next one succeeds. */
  readonly lastError: string | undefined;
}

/** The error of a rejected reload. */
export interface ReloadFailure {
  /** When the reload was rejected. */
  readonly at: Date;
  /** The code of the error, such as `KEY_MISMATCH`, where it has one. */
  readonly code: string | undefined;
  /** The message of the error. */
  readonly message: string;
}

/** A certificate in use. */
export interface CertificateStatus {
  /** What the certificate is used for. */
  readonly role: CertificateRole;
  /** Whom it was issued to. */
  readonly subject: string;
  /** The DNS names and IP addresses that it is valid for. */
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
  /** The files, as absolute paths. */
  readonly paths: readonly string[];
  /** The files that do not exist. */
  readonly missing: readonly string[];
  /** When the newest of the files was modified, as the file system says. */
  readonly changedAt: Date | undefined;
  /** When the files were last read. */
  readonly checkedAt: Date | undefined;
  /** Why changes are noticed late or never, and how to fix it; `undefined` if nothing is known to be wrong. */
  readonly degraded: string | undefined;
}
