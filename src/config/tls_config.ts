import { createSecureContext, type SecureContext } from "node:tls";
import { requireOptions } from "../arguments.ts";
import { location, TlsReloadError } from "../errors.ts";
import { unsupported } from "../unsupported.ts";
import { HIDDEN_CONTEXT, showAs } from "../redaction.ts";
import { type Certificate, parseCertificates } from "../x509/certificate.ts";
import type { CertificateFacts } from "../x509/certificate_fields.ts";
import type { CertifiedKey, CertifiedKeyFacts, CertifiedKeyInit } from "./certified_key.ts";
import { CertifiedKeys, type KeyRequest, parseCertifiedKeys } from "./certified_keys.ts";
import {
  type ClientAuth,
  type ClientAuthMode,
  OPTION_HINTS,
  OPTION_NAMES,
  requireSettings,
  type TlsConfigInit,
  type TlsVersion,
  type UnknownName,
} from "./options.ts";
import { serverOptions } from "./server_options.ts";

/** The public facts of a configuration, as {@linkcode TlsConfig.toJSON} gives them. */
export interface TlsConfigFacts {
  /** The certificates that are sent, the server's own first. */
  readonly chain: readonly CertificateFacts[];
  /** Every certified key, the default first; absent if there is one. */
  readonly certifiedKeys?: readonly CertifiedKeyFacts[];
  /** What a client gets that asks for a name that no certificate holds; absent if there is one certified key. */
  readonly unknownName?: UnknownName;
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
 * Chooses the certified key for one client.
 *
 * @param config The configuration.
 * @param client What the client asks for and can verify.
 * @param localAddress The address that the client has connected to.
 * @returns The certified key; `undefined` if the client must be refused with `unrecognized_name`.
 */
export let certifiedKeyForClient: (
  config: TlsConfig,
  client: KeyRequest,
  localAddress: string | undefined,
) => CertifiedKey | undefined;

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
  /** The certificates that are sent, the server's own first. At least one. Of several certified keys, the default's. */
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
  /** What a client gets that asks for a name that no certificate holds. */
  readonly unknownName: UnknownName;
  readonly #certifiedKeys: CertifiedKeys;
  readonly #context: SecureContext;

  static {
    contextOf = (config) => config.#context;
    certifiedKeyForClient = (config, client, localAddress) => config.#certifiedKeys.forClient(client, localAddress);
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
    const hasList = Object.hasOwn(init ?? {}, "certifiedKeys");
    const keyNames = hasList ? ["certifiedKeys"] : ["cert", "key", "passphrase"];
    requireOptions("TlsConfig", init, [...keyNames, ...OPTION_NAMES], OPTION_HINTS);
    requireSettings(init);
    const { clientAuth, unknownName = "default", maxVersion = "TLSv1.3" } = init;

    const certifiedKeys = parseCertifiedKeys("certifiedKeys" in init ? init.certifiedKeys : [keyInit(init)]);
    this.#certifiedKeys = new CertifiedKeys(certifiedKeys, { unknownName, maxVersion });
    this.unknownName = unknownName;
    this.chain = certifiedKeys[0]!.chain;
    this.alpnProtocols = Object.freeze([...init.alpnProtocols ?? []]);
    this.minVersion = init.minVersion ?? "TLSv1.2";
    this.maxVersion = maxVersion;
    this.ciphers = init.ciphers;
    this.ecdhCurve = init.ecdhCurve;
    this.clientAuth = clientAuth &&
      Object.freeze({ mode: clientAuth.mode, ca: Object.freeze(parseCertificates(clientAuth.ca)) });
    try {
      this.#context = showAs(createSecureContext(serverOptions(this, certifiedKeys[0]!)), () => HIDDEN_CONTEXT);
    } catch (cause) {
      const { path } = certifiedKeys[0]!;
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
    return this.#certifiedKeys.all;
  }

  /**
   * Chooses a certified key as for a client that can verify all of them.
   *
   * @param name A DNS name or an address.
   * @returns The certified key; `undefined` if the name is unknown and clients that ask for it are refused.
   */
  certifiedKeyFor(name: string): CertifiedKey | undefined {
    return this.#certifiedKeys.forName(name);
  }

  /** The public facts as a plain object. */
  toJSON(): TlsConfigFacts {
    const { chain, certifiedKeys, unknownName, alpnProtocols, minVersion, maxVersion, ciphers, ecdhCurve, clientAuth } =
      this;
    return {
      chain: chain.map((certificate) => certificate.toJSON()),
      ...(certifiedKeys.length > 1 && { certifiedKeys: certifiedKeys.map((each) => each.toJSON()), unknownName }),
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
 * @throws {TlsReloadError} `UNSUPPORTED` if the configuration has several certified keys: a context holds one.
 */
export function secureContext(config: TlsConfig): SecureContext {
  requireOneKey(config, "make a context", "use attach(), serve() or state.acceptor()");
  return contextOf(config);
}

/**
 * Refuses a configuration whose certified keys would be lost but for the first.
 *
 * @param config The configuration.
 * @param action What was asked for.
 * @param alternative What to use instead.
 * @returns The only certified key.
 * @throws {TlsReloadError} `UNSUPPORTED` if there are several, or unknown names are to be refused.
 */
export function requireOneKey(config: TlsConfig, action: string, alternative: string): CertifiedKey {
  const [certifiedKey, second] = config.certifiedKeys;
  if (second) throw unsupported(action, `it takes one certified key, not several; ${alternative}`);
  if (config.unknownName === "refuse") throw unsupported(action, `it cannot refuse unknown names; ${alternative}`);
  return certifiedKey!;
}

/** The part of the options that makes a certified key. */
function keyInit(init: Extract<TlsConfigInit, CertifiedKeyInit>): CertifiedKeyInit {
  const { cert, key, passphrase } = init;
  return { cert, key, passphrase };
}
