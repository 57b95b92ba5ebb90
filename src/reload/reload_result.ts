import type { TlsConfig } from "../config/tls_config.ts";
import type { SwapChanges } from "./changes.ts";

/** The options of {@linkcode Reloader.reload}. */
export interface ReloadOptions {
  /**
   * Accepts a certificate that has expired or is not yet valid in place of one that is valid, and at once.
   *
   * @default {false}
   */
  readonly force?: boolean | undefined;
}

/** The outcome of a reload. */
export type ReloadResult =
  | {
    /** The new configuration is served from now on. */
    readonly outcome: "swapped";
    /** The new configuration. */
    readonly config: TlsConfig;
    /** The previous configuration, to swap back if necessary. */
    readonly previous: TlsConfig;
    /**
     * What is different beside validity and serial numbers: names, key types, issuers, authorities, revocation lists.
     */
    readonly changes: SwapChanges;
  }
  | {
    /** The source holds the current configuration. */
    readonly outcome: "unchanged";
    /** The current configuration. */
    readonly config: TlsConfig;
  }
  | {
    /** The certificate is not valid yet. It is swapped in when its validity begins, unless the source changes first. */
    readonly outcome: "pending";
    /** The new configuration. */
    readonly config: TlsConfig;
    /** The first moment of its validity. */
    readonly validFrom: Date;
  }
  | {
    /** The source could not be loaded, or its configuration cannot be served. The current configuration stays. */
    readonly outcome: "rejected";
    /** The error that `load` threw, or a {@linkcode TlsReloadError}. */
    readonly error: unknown;
  };
