import { Buffer } from "node:buffer";
import type { Certificate } from "../x509/certificate.ts";
import { kindOf, requireOptions } from "../arguments.ts";
import type { PemInput } from "../x509/pem.ts";
import type { CertifiedKey, CertifiedKeyInit } from "./certified_key.ts";
import { isCipherSuite, isNamedGroup, isTls13Suite } from "./parameters.ts";

/** A protocol version of TLS that all three runtimes serve. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** Whether clients must show a certificate, or may. A certificate that is shown must always be good. */
export type ClientAuthMode = "required" | "optional";

/**
 * What a client gets that asks for a name that no certificate holds: the default certificate, or the alert
 * `unrecognized_name`.
 */
export type UnknownName = "default" | "refuse";

/** What a configuration holds beside its certified keys. */
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
   * `"TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384"`. A version of which no suite is named keeps the suites of
   * the runtime; TLS 1.2 must be named unless `minVersion` is TLS 1.3. Deno cannot limit cipher suites, Bun not those of
   * TLS 1.3: there `proveTlsConfig()` throws `UNSUPPORTED`.
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
   * What a client gets that asks for a name that no certificate holds. A client that sends no name gets the certificate
   * that holds the local address of the connection, else the default.
   *
   * @default {"default"}
   */
  readonly unknownName?: UnknownName | undefined;
  /**
   * Asks clients for a certificate. Without this option clients are not asked. It holds for the whole configuration, not
   * for one name: the name is the client's claim.
   */
  readonly clientAuth?: {
    /** The certificate authorities of the clients: one source that may hold several certificates. */
    readonly ca: Source;
    /** Whether a client without a certificate is refused. */
    readonly mode: ClientAuthMode;
  } | undefined;
}

/** What a `TlsConfig` is made of: PEM in memory, of one certified key or of several, the default first. */
export type TlsConfigInit =
  & TlsConfigOptions<PemInput>
  & (CertifiedKeyInit | { readonly certifiedKeys: readonly (CertifiedKeyInit | CertifiedKey)[] });

/** Which clients get in. */
export interface ClientAuth {
  /** Whether a client without a certificate is refused. */
  readonly mode: ClientAuthMode;
  /** The certificate authorities that are trusted. */
  readonly ca: readonly Certificate[];
}

/** What a server negotiates, without its certificates: the checked options of a configuration. */
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

/** The options of `node:tls` that a configuration calls otherwise, and those that it does not have. */
export const OPTION_HINTS: Readonly<Record<string, string>> = {
  requestCert: "clientAuth",
  rejectUnauthorized: "clientAuth.mode",
  ca: "clientAuth.ca",
  crl: "clientAuth",
  ALPNProtocols: "alpnProtocols",
  alpn: "alpnProtocols",
  secureProtocol: "minVersion and maxVersion",
  certPath: "the first argument of loadTlsConfig",
  keyPath: "the second argument of loadTlsConfig",
};

const CLIENT_AUTH_NAMES = ["ca", "mode"];
const VERSIONS: readonly string[] = ["TLSv1.2", "TLSv1.3"];

/**
 * Refuses options that no server can be given. Certificates are read elsewhere.
 *
 * @param options The options as the user gave them.
 * @throws {TypeError} If an option is none of its allowed values.
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
    requireChoice("clientAuth.mode", clientAuth.mode, ["required", "optional"]);
  }
  requireProtocols(alpnProtocols);
  if (ciphers !== undefined) requireCiphers(ciphers, minVersion);
  if (ecdhCurve !== undefined) requireNames("ecdhCurve", ecdhCurve, isNamedGroup);
}

/** Refuses a passphrase that is not one. */
export function requirePassphrase(passphrase: unknown): void {
  if (passphrase !== undefined && typeof passphrase !== "string") throw refusal("passphrase", "a string", passphrase);
}

/** The list of protocols as ALPN carries it (RFC 7301 section 3.1). */
export function encodeProtocols(protocols: readonly string[]): Uint8Array {
  return Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));
}

function requireChoice(name: string, value: unknown, allowed: readonly string[]): void {
  if (typeof value === "string" && allowed.includes(value)) return;
  throw new TypeError(`Cannot use TLS config: '${name}' must be ${allowed.join(" or ")}: ${shown(value)}`);
}

/** RFC 7301 section 3.1: a protocol name takes 1 to 255 bytes, the list of them 65,535 with their lengths. */
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
  // OpenSSL would silently stop to speak TLS 1.2.
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

/** Short values are repeated; anything else may be a key in the wrong place. */
function shown(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string" && /^[\w.@!+-]{0,40}$/.test(value)) return value === "" ? "an empty string" : value;
  return kindOf(value);
}
