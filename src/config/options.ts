import { Buffer } from "node:buffer";
import type { Certificate } from "../x509/certificate.ts";
import type { CrlFacts } from "../x509/crl_facts.ts";
import { kindOf, requireOptions } from "../arguments.ts";
import type { PemInput } from "../x509/pem.ts";
import type { CertifiedKey, CertifiedKeyInit } from "./certified_key.ts";
import { isCipherSuite, isNamedGroup, isTls13Suite } from "./suites_and_groups.ts";

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
     * Whether the clients of an authority are refused once its list is past its nextUpdate. Serial numbers in such a list
     * are revoked either way.
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

/** The parts of a `TlsConfig`: PEM in memory, of one certified key or of several, the default first. */
export type TlsConfigInit =
  & TlsConfigOptions<PemInput>
  & (CertifiedKeyInit | { readonly certifiedKeys: readonly (CertifiedKeyInit | CertifiedKey)[] });

/** The client authentication of a configuration. */
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

/** The checked options of a configuration: everything that a server negotiates, without its certificates. */
export interface TlsSettings {
  readonly alpnProtocols: readonly string[];
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  readonly ciphers: string | undefined;
  readonly ecdhCurve: string | undefined;
  readonly clientAuth: ClientAuth | undefined;
  readonly unknownName: UnknownName;
}

/** The options of a configuration, for {@linkcode requireOptions}. */
export const OPTION_NAMES: readonly string[] = [
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

const CLIENT_AUTH_NAMES = ["ca", "mode", "crl", "requireCrl", "staleCrl", "intermediates"];
const VERSIONS: readonly string[] = ["TLSv1.2", "TLSv1.3"];

/**
 * Refuses invalid options. Does not read certificates.
 *
 * @param options The options that the user passed.
 * @throws {TypeError} If an option does not have one of its allowed values.
 */
export function requireSettings(options: TlsConfigOptions<unknown>): void {
  const { alpnProtocols = [], minVersion = "TLSv1.2", maxVersion = "TLSv1.3" } = options;
  const { ciphers, ecdhCurve, clientAuth, unknownName = "default" } = options;
  requireChoice("minVersion", minVersion, VERSIONS);
  requireChoice("maxVersion", maxVersion, VERSIONS);
  if (minVersion > maxVersion) {
    throw new TypeError(`Cannot use TLS config: 'maxVersion' must not be below 'minVersion': ${maxVersion}`);
  }
  requireChoice("unknownName", unknownName, ["default", "refuse"]);
  if (clientAuth !== undefined) {
    requireOptions("clientAuth", clientAuth, CLIENT_AUTH_NAMES);
    const { mode, requireCrl = false, staleCrl = "refuse" } = clientAuth;
    requireChoice("clientAuth.mode", mode, ["required", "optional"]);
    requireChoice("clientAuth.staleCrl", staleCrl, ["refuse", "accept"]);
    if (typeof requireCrl !== "boolean") throw refusal("clientAuth.requireCrl", "a boolean", requireCrl);
  }
  requireProtocols(alpnProtocols);
  if (ciphers !== undefined) requireCiphers(ciphers, minVersion);
  if (ecdhCurve !== undefined) requireNames("ecdhCurve", ecdhCurve, isNamedGroup);
}

/** Refuses a passphrase that is not one. */
export function requirePassphrase(passphrase: unknown): void {
  if (passphrase !== undefined && typeof passphrase !== "string") throw refusal("passphrase", "a string", passphrase);
}

/** Encodes a list of protocols in the wire form of ALPN (RFC 7301 section 3.1). */
export function encodeProtocols(protocols: readonly string[]): Uint8Array {
  return Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));
}

function requireChoice(name: string, value: unknown, allowed: readonly string[]): void {
  if (typeof value === "string" && allowed.includes(value)) return;
  throw new TypeError(`Cannot use TLS config: '${name}' must be ${allowed.join(" or ")}: ${shown(value)}`);
}

/** RFC 7301 section 3.1: a protocol name has 1 to 255 bytes, and the list has at most 65,535 bytes with all lengths. */
function requireProtocols(protocols: readonly string[]): void {
  if (!Array.isArray(protocols)) throw refusal("alpnProtocols", "a list of names", protocols);
  const bad = protocols.find((name) => typeof name !== "string" || !/^[\x21-\x7e]{1,255}$/.test(name));
  if (bad !== undefined) throw refusal("alpnProtocols", "a list of names of 1 to 255 printable characters", bad);
  const { length } = encodeProtocols(protocols);
  if (length > 0xffff) {
    throw new TypeError(`Cannot use TLS config: 'alpnProtocols' must fit into 65535 bytes: ${length}`);
  }
}

function requireCiphers(ciphers: string, minVersion: TlsVersion): void {
  requireNames("ciphers", ciphers, isCipherSuite);
  // OpenSSL would silently disable TLS 1.2.
  if (minVersion === "TLSv1.2" && ciphers.split(":").every(isTls13Suite)) {
    throw new TypeError("Cannot use TLS config: 'ciphers' must name a suite of TLS 1.2, or 'minVersion' be TLSv1.3");
  }
}

function requireNames(option: string, value: unknown, isKnown: (name: string) => boolean): void {
  if (typeof value !== "string") throw refusal(option, "names separated by colons", value);
  const bad = value.split(":").find((name) => !isKnown(name));
  if (bad !== undefined) {
    throw new TypeError(`Cannot use TLS config: '${option}' holds a name that is not known: ${shown(bad)}`);
  }
}

function refusal(option: string, expected: string, value: unknown): TypeError {
  return new TypeError(`Cannot use TLS config: '${option}' must be ${expected}: ${kindOf(value)}`);
}

/** Quotes short values only, because a long one may be a key in the wrong place. */
function shown(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string" && /^[\w.@!+-]{0,40}$/.test(value)) return value === "" ? "an empty string" : value;
  return kindOf(value);
}
