/**
 * The options of a configuration, and the types that they pass through:
 *
 * | type | what it holds | made by |
 * | --- | --- | --- |
 * | `TlsConfigOptions<Source>` | options as the user writes them; `Source` is a path or PEM | the user |
 * | `TlsConfigInit` | these options with PEM and certified keys | the user, `loadTlsConfig()` |
 * | `TlsSettings` | options checked and complete, without certified keys | `withDefaults()`, `parseClientAuth()` |
 * | `TlsConfig` | settings with certified keys that can serve; is a `TlsSettings` | its constructor |
 * | `ServedConfig` | the part of a `TlsConfig` that digests are made of; private to `digests.ts` | |
 * | `TlsConfigFacts` | the public facts of a `TlsConfig` as plain JSON | `toJSON()` |
 */
import type { Certificate } from "../x509/certificate.ts";
import type { CrlFacts } from "../x509/crl.ts";
import type { PemInput } from "../x509/pem.ts";
import type { CertifiedKey, CertifiedKeyInit } from "./certified_key.ts";

/** A protocol version of TLS that all three runtimes serve. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** Whether clients must or may send a certificate. A certificate that a client sends must always be valid. */
export type ClientAuthMode = "required" | "optional";

/** What the clients of an authority get whose revocation list is past its nextUpdate. */
export type StaleCrl = "refuse" | "accept";

/**
 * The answer to a client that asks for a name that no certificate holds: the default certificate, or the alert
 * `unrecognized_name`.
 */
export type UnknownName = "default" | "refuse";

/** The options of a configuration, beside its certified keys. */
export interface TlsConfigOptions<Source> {
  /**
   * The protocols offered by ALPN (RFC 7301), the preferred one first, such as `["h2", "http/1.1"]`.
   *
   * @default {[]}
   */
  readonly alpnProtocols?: readonly string[] | undefined;
  /**
   * The lowest protocol version that the server accepts.
   *
   * @default {"TLSv1.2"}
   */
  readonly minVersion?: TlsVersion | undefined;
  /**
   * The highest protocol version that the server accepts.
   *
   * @default {"TLSv1.3"}
   */
  readonly maxVersion?: TlsVersion | undefined;
  /**
   * The cipher suites that the server accepts, by their OpenSSL names and separated by colons, such as
   * `"TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384"`. If the list names no suite of TLS 1.3, the runtime's
   * suites of TLS 1.3 stay enabled. It must name a suite of TLS 1.2 unless `minVersion` is TLS 1.3. Deno cannot limit
   * cipher suites, and Bun cannot limit those of TLS 1.3: there `proveTlsConfig()` throws `UNSUPPORTED`.
   *
   * @default The suites of the runtime.
   */
  readonly ciphers?: string | undefined;
  /**
   * The groups for key exchange that the server accepts, separated by colons, such as `"X25519:P-256"`. Deno cannot
   * limit them: there `proveTlsConfig()` throws `UNSUPPORTED`.
   *
   * @default The groups of the runtime.
   */
  readonly ecdhCurve?: string | undefined;
  /**
   * The answer to a client that asks for a name that no certificate holds. A client that does not send a name gets the
   * certificate that holds the local address of the connection, otherwise the default.
   *
   * @default {"default"}
   */
  readonly unknownName?: UnknownName | undefined;
  /**
   * Requests a certificate from clients. By default no certificate is requested. The option applies to all names,
   * because a client can claim any name.
   */
  readonly clientAuth?: {
    /** The certificate authorities of the clients: one source, which may hold several certificates. */
    readonly ca: Source;
    /** Whether the server refuses clients without a certificate. */
    readonly mode: ClientAuthMode;
    /**
     * Certificate revocation lists of the authorities and intermediates: one source or several, in PEM or DER, that may
     * each hold several lists. Each must be signed by a certificate of `ca` or `intermediates`. Clients of an authority
     * without a list are not checked.
     */
    readonly crl?: Source | readonly Source[] | undefined;
    /**
     * Refuses clients whose path holds an authority without a list.
     *
     * @default {false}
     */
    readonly requireCrl?: boolean | undefined;
    /**
     * Whether the clients of an authority are refused once its list is past its nextUpdate. Serial numbers in such a
     * list are revoked either way.
     *
     * @default {"refuse"}
     */
    readonly staleCrl?: StaleCrl | undefined;
    /**
     * Intermediate certificates of the clients, which are not trusted by themselves: one source or several. Needed for
     * revocation lists that intermediates have issued. Node 24.21 and 26.8 to 26.9 do not show the intermediates that a
     * client sends: with `crl` or `requireCrl`, clients of intermediates that are not listed here are refused there.
     */
    readonly intermediates?: Source | readonly Source[] | undefined;
  } | undefined;
}

/** The options of the client authentication. */
export type ClientAuthOptions<Source> = NonNullable<TlsConfigOptions<Source>["clientAuth"]>;

/** The parts of a `TlsConfig`: PEM in memory, of one certified key or of several, the default first. */
export type TlsConfigInit =
  & TlsConfigOptions<PemInput>
  & (CertifiedKeyInit | { readonly certifiedKeys: readonly (CertifiedKeyInit | CertifiedKey)[] });

/**
 * The client authentication of a configuration. It shows only facts of the revocation lists: `crlsOf()` and
 * `revocationOf()` in `client_auth.ts` return the lists and the check of clients against them.
 */
export interface ClientAuth {
  /** Whether the server refuses clients without a certificate. */
  readonly mode: ClientAuthMode;
  /** The trusted certificate authorities. */
  readonly ca: readonly Certificate[];
  /** The facts of the revocation lists. */
  readonly crl: readonly CrlFacts[];
  /** Whether clients of an authority without a list are refused. */
  readonly requireCrl: boolean;
  /** Whether clients of an authority are refused whose list is past its nextUpdate. */
  readonly staleCrl: StaleCrl;
  /** The intermediate certificates that were given, which are not trusted by themselves. */
  readonly intermediates: readonly Certificate[];
}

/** The names of the options. */
export const OPTION_NAMES: readonly (keyof TlsConfigOptions<unknown>)[] = [
  "alpnProtocols",
  "minVersion",
  "maxVersion",
  "ciphers",
  "ecdhCurve",
  "clientAuth",
  "unknownName",
];

/** Hints for options of `node:tls` that a configuration names differently or does not have. */
export const OPTION_HINTS: Readonly<Record<string, string>> = {
  requestCert: "clientAuth",
  rejectUnauthorized: "clientAuth.mode",
  ca: "clientAuth.ca",
  crl: "clientAuth.crl",
  ALPNProtocols: "alpnProtocols",
  alpn: "alpnProtocols",
  secureProtocol: "minVersion and maxVersion",
  certPath: "the first argument of loadTlsConfig",
  keyPath: "the second argument of loadTlsConfig",
};
