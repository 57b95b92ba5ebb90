import { Buffer } from "node:buffer";
import { kindOf, requireOptions } from "../arguments.ts";
import type { ClientAuth, ClientAuthOptions, TlsConfigOptions, TlsVersion, UnknownName } from "./options.ts";
import { isCipherSuite, isNamedGroup, isTls13Suite } from "./suites_and_groups.ts";

/**
 * The options of a configuration, checked and complete: everything that a server negotiates except its certificates.
 */
export interface TlsSettings {
  readonly alpnProtocols: readonly string[];
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  readonly ciphers: string | undefined;
  readonly ecdhCurve: string | undefined;
  readonly clientAuth: ClientAuth | undefined;
  readonly unknownName: UnknownName;
}

const CLIENT_AUTH_NAMES = ["ca", "mode", "crl", "requireCrl", "staleCrl", "intermediates"];
const VERSIONS = ["TLSv1.2", "TLSv1.3"];

/** Sets the options that have a default and were not given. Returns all options except the client authentication. */
export function withDefaults(options: TlsConfigOptions<unknown>): Omit<TlsSettings, "clientAuth"> {
  const { alpnProtocols = [], minVersion = "TLSv1.2", maxVersion = "TLSv1.3", unknownName = "default" } = options;
  const { ciphers, ecdhCurve } = options;
  return { alpnProtocols, minVersion, maxVersion, ciphers, ecdhCurve, unknownName };
}

/**
 * Refuses invalid options. Does not read certificates.
 *
 * @throws {TypeError} If an option does not have one of its allowed values.
 */
export function requireSettings(options: TlsConfigOptions<unknown>): void {
  const { alpnProtocols, minVersion, maxVersion, ciphers, ecdhCurve, unknownName } = withDefaults(options);
  requireChoice("minVersion", minVersion, VERSIONS);
  requireChoice("maxVersion", maxVersion, VERSIONS);
  if (minVersion > maxVersion) {
    throw new TypeError(`Cannot use TLS config: 'maxVersion' must not be below 'minVersion': ${maxVersion}`);
  }
  requireChoice("unknownName", unknownName, ["default", "refuse"]);
  if (options.clientAuth !== undefined) requireClientAuth(options.clientAuth);
  requireProtocols(alpnProtocols);
  if (ciphers !== undefined) requireCiphers(ciphers, minVersion);
  if (ecdhCurve !== undefined) requireNames("ecdhCurve", ecdhCurve, isNamedGroup);
}

/** Refuses a passphrase that is not a string. */
export function requirePassphrase(passphrase: unknown): void {
  if (passphrase !== undefined && typeof passphrase !== "string") throw refusal("passphrase", "a string", passphrase);
}

/** Encodes a list of protocols in the wire form of ALPN (RFC 7301 section 3.1). */
export function encodeProtocols(protocols: readonly string[]): Uint8Array {
  return Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));
}

function requireClientAuth(options: ClientAuthOptions<unknown>): void {
  requireOptions("clientAuth", options, CLIENT_AUTH_NAMES);
  const { mode, requireCrl, staleCrl } = options;
  requireChoice("clientAuth.mode", mode, ["required", "optional"]);
  if (staleCrl !== undefined) requireChoice("clientAuth.staleCrl", staleCrl, ["refuse", "accept"]);
  if (requireCrl !== undefined && typeof requireCrl !== "boolean") {
    throw refusal("clientAuth.requireCrl", "a boolean", requireCrl);
  }
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
