import { createSecureContext, type SecureContext } from "node:tls";
import { requireOptions } from "../arguments.ts";
import { location, TlsReloadError } from "../errors.ts";
import { HIDDEN_CONTEXT, showAs } from "../redaction.ts";
import { type Certificate, type CertificateFacts, parseCertificates } from "../x509/certificate.ts";
import { pathOf } from "../x509/pem.ts";
import { CertifiedKey } from "./certified_key.ts";
import {
  type ClientAuth,
  type ClientAuthMode,
  OPTION_HINTS,
  OPTION_NAMES,
  requireSettings,
  type TlsConfigInit,
  type TlsVersion,
} from "./options.ts";
import { serverOptions } from "./server_options.ts";

/** The public facts of a configuration, as {@linkcode TlsConfig.toJSON} gives them. */
export interface TlsConfigFacts {
  /** The certificates that are sent, the server's own first. */
  readonly chain: readonly CertificateFacts[];
  /** The protocols offered by ALPN. */
  readonly alpnProtocols: readonly string[];
  /** The lowest protocol version. */
  readonly minVersion: TlsVersion;
  /** The highest protocol version. */
  readonly maxVersion: TlsVersion;
  /** The cipher suites, if they are limited. */
  readonly ciphers?: string;
  /** The groups for key exchange, if they are limited. */
  readonly ecdhCurve?: string;
  /** Which clients get in, if they are asked. */
  readonly clientAuth?: { readonly mode: ClientAuthMode; readonly ca: readonly CertificateFacts[] };
}

let contextOf: (config: TlsConfig) => SecureContext;

/**
 * What a server serves TLS with: chain, private key, client authorities, ALPN, versions, cipher suites and groups, as one
 * whole.
 *
 * Valid by construction: the chain parses, there is one usable private key and it belongs to the first certificate, and
 * the runtime builds a context from them. Immutable; the key can neither be read nor printed. A configuration with an
 * expired certificate is valid: its validity is a fact to read.
 *
 * {@linkcode loadTlsConfig} makes one from files, and proves that it can serve.
 *
 * @example Certificate and key from an API, as Vault or SPIFFE hand them out
 * ```ts ignore
 * import { proveTlsConfig, TlsConfig } from "@x/tls-reload";
 *
 * const config = new TlsConfig({ cert: svid.chainPem, key: svid.keyPem });
 * await proveTlsConfig(config);
 * ```
 */
export class TlsConfig {
  /** The certificates that are sent, the server's own first. At least one. */
  readonly chain: readonly Certificate[];
  /** The protocols offered by ALPN, the preferred one first. */
  readonly alpnProtocols: readonly string[];
  /** The lowest protocol version that the server accepts. */
  readonly minVersion: TlsVersion;
  /** The highest protocol version that the server accepts. */
  readonly maxVersion: TlsVersion;
  /** The cipher suites that the server accepts; `undefined` for those of the runtime. */
  readonly ciphers: string | undefined;
  /** The groups for key exchange that the server accepts; `undefined` for those of the runtime. */
  readonly ecdhCurve: string | undefined;
  /** Which clients get in; `undefined` if clients are not asked for a certificate. */
  readonly clientAuth: ClientAuth | undefined;
  readonly #certifiedKeys: readonly CertifiedKey[];
  readonly #context: SecureContext;

  static {
    contextOf = (config) => config.#context;
  }

  /**
   * Parses and checks. {@linkcode proveTlsConfig} then proves that the configuration can serve.
   *
   * @param init Chain and key in PEM, and the other options.
   * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE`, `CERTIFICATE_INVALID`, `NO_PRIVATE_KEY`,
   * `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`, `KEY_ENCRYPTED`, `PASSPHRASE_WRONG`, `KEY_MISMATCH`, or
   * `CONFIG_UNUSABLE`.
   * @throws {TypeError} If an option is unknown or is none of its allowed values.
   */
  constructor(init: TlsConfigInit) {
    requireOptions("TlsConfig", init, ["cert", "key", ...OPTION_NAMES], OPTION_HINTS);
    requireSettings(init);
    const { cert, key, passphrase, clientAuth } = init;

    const certifiedKey = new CertifiedKey(cert, key, passphrase);
    this.#certifiedKeys = Object.freeze([certifiedKey]);
    this.chain = certifiedKey.chain;
    this.alpnProtocols = Object.freeze([...init.alpnProtocols ?? []]);
    this.minVersion = init.minVersion ?? "TLSv1.2";
    this.maxVersion = init.maxVersion ?? "TLSv1.3";
    this.ciphers = init.ciphers;
    this.ecdhCurve = init.ecdhCurve;
    this.clientAuth = clientAuth &&
      Object.freeze({ mode: clientAuth.mode, ca: Object.freeze(parseCertificates(clientAuth.ca)) });
    try {
      this.#context = showAs(createSecureContext(serverOptions(this)), () => HIDDEN_CONTEXT);
    } catch (cause) {
      const path = pathOf(cert);
      const message = `Cannot use TLS config${location({ path })}: the runtime refuses it`;
      throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause, path });
    }
    Object.freeze(this);
  }

  /** The server's own certificate, the first of the chain. */
  get leaf(): Certificate {
    return this.chain[0]!;
  }

  /** The certificate chains with their private keys, the default first. */
  get certifiedKeys(): readonly CertifiedKey[] {
    return this.#certifiedKeys;
  }

  /** The public facts as a plain object. */
  toJSON(): TlsConfigFacts {
    const { chain, alpnProtocols, minVersion, maxVersion, ciphers, ecdhCurve, clientAuth } = this;
    return {
      chain: chain.map((certificate) => certificate.toJSON()),
      alpnProtocols,
      minVersion,
      maxVersion,
      ...(ciphers !== undefined && { ciphers }),
      ...(ecdhCurve !== undefined && { ecdhCurve }),
      ...(clientAuth && { clientAuth: { mode: clientAuth.mode, ca: clientAuth.ca.map((ca) => ca.toJSON()) } }),
    };
  }
}

/**
 * The context that `SNICallback` and `TLSSocket` of Node take, built once for each configuration.
 *
 * @param config The configuration.
 * @returns The context.
 */
export function secureContext(config: TlsConfig): SecureContext {
  return contextOf(config);
}
