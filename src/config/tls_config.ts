import type { SecureContext } from "node:tls";
import { kindInPlaceOf, requireOptions, requireType } from "../arguments.ts";
import { unsupported } from "../unsupported.ts";
import type { Certificate } from "../x509/certificate.ts";
import type { CertificateFacts } from "../x509/certificate_fields.ts";
import {
  CERTIFIED_KEY_PARTS,
  type CertifiedKey,
  type CertifiedKeyFacts,
  type CertifiedKeyInit,
} from "./certified_key.ts";
import { CertifiedKeys, type KeyRequest, parseCertifiedKeys } from "./certified_keys.ts";
import { type ClientAuthFacts, clientAuthFacts, parseClientAuth, revocationOf } from "./client_auth.ts";
import { configDigestOf, trustDigestOf } from "./digests.ts";
import {
  type ClientAuth,
  OPTION_HINTS,
  OPTION_NAMES,
  type TlsConfigInit,
  type TlsVersion,
  type UnknownName,
} from "./options.ts";
import { runtimeRevocation } from "./runtime_revocation.ts";
import { buildContext, contextWith, serverOptions } from "./server_options.ts";
import { requireSettings, withDefaults } from "./settings.ts";

/** The public facts of a configuration, as {@linkcode TlsConfig.toJSON} returns them. */
export interface TlsConfigFacts {
  /** The certificates that are sent, the server's own first. */
  readonly chain: readonly CertificateFacts[];
  /** All certified keys, the default first; absent if there is only one. */
  readonly certifiedKeys?: readonly CertifiedKeyFacts[];
  /** The answer to a client that asks for an unknown name; absent if there is only one certified key. */
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
  /** The client authentication, if there is one. */
  readonly clientAuth?: ClientAuthFacts;
}

let contextOf: (config: TlsConfig) => SecureContext;

/** Chooses the certified key for one client; `undefined` if it must be refused with `unrecognized_name`. */
export let certifiedKeyForClient: (
  config: TlsConfig,
  client: KeyRequest,
  localAddress: string | undefined,
) => CertifiedKey | undefined;

/**
 * The TLS configuration of a server as one whole: chains, private keys, client authorities, ALPN, versions, cipher
 * suites and groups.
 *
 * Invariant: all chains parse, each has one usable private key that belongs to its first certificate, and the runtime
 * has built a context from them. Immutable. Users can neither read nor print a key. A configuration with an expired
 * certificate is valid: the application reads the validity and decides.
 *
 * {@linkcode loadTlsConfig} makes a configuration from files, and proves that it can serve.
 *
 * @example Certificate and key from an API, such as Vault or SPIFFE
 * ```ts ignore
 * import { proveTlsConfig, TlsConfig } from "@x/tls-reload";
 *
 * const config = new TlsConfig({ cert: svid.chainPem, key: svid.keyPem });
 * await proveTlsConfig(config);
 * ```
 */
export class TlsConfig {
  /** The certificates of the default certified key that are sent, the server's own first. At least one. */
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
  /** The client authentication; `undefined` if no certificate is requested from clients. */
  readonly clientAuth: ClientAuth | undefined;
  /** The answer to a client that asks for a name that no certificate holds. */
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
   * `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`, `KEY_ENCRYPTED`, `PASSPHRASE_WRONG`, `KEY_MISMATCH`,
   * `CRL_INVALID`, or `CONFIG_UNUSABLE`.
   * @throws {TypeError} If an option is unknown or invalid.
   */
  constructor(init: TlsConfigInit) {
    const hasList = Object.hasOwn(init ?? {}, "certifiedKeys");
    const keyNames = hasList ? ["certifiedKeys"] : CERTIFIED_KEY_PARTS;
    requireOptions("TlsConfig", init, [...keyNames, ...OPTION_NAMES], OPTION_HINTS);
    requireSettings(init);
    const settings = withDefaults(init);
    this.alpnProtocols = Object.freeze([...settings.alpnProtocols]);
    this.minVersion = settings.minVersion;
    this.maxVersion = settings.maxVersion;
    this.ciphers = settings.ciphers;
    this.ecdhCurve = settings.ecdhCurve;
    this.unknownName = settings.unknownName;

    const certifiedKeys = parseCertifiedKeys("certifiedKeys" in init ? init.certifiedKeys : [keyInit(init)]);
    const [first] = certifiedKeys as [CertifiedKey];
    this.#certifiedKeys = new CertifiedKeys(certifiedKeys, settings);
    this.chain = first.chain;
    this.clientAuth = init.clientAuth && parseClientAuth(init.clientAuth);
    this.#context = buildContext(this, first);
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

  /** SHA-256 of everything that is served, without the private keys: the same in every process that serves the same. */
  get configDigest(): string {
    return configDigestOf(this);
  }

  /** SHA-256 of the trust in clients, mode and authorities: the same in every process that trusts the same clients. */
  get trustDigest(): string {
    return trustDigestOf(this);
  }

  /**
   * Chooses the certified key for a client that can verify all of them.
   *
   * @param name A DNS name or an address.
   * @returns The certified key; `undefined` if the server refuses clients that ask for this name.
   */
  certifiedKeyFor(name: string): CertifiedKey | undefined {
    requireType("certifiedKeyFor()", "name", name, "a string");
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
      ...(clientAuth && { clientAuth: clientAuthFacts(clientAuth) }),
    };
  }
}

/**
 * Returns the context for `SNICallback` and `TLSSocket` of Node. It is built once for each configuration.
 *
 * @param config The configuration.
 * @returns The context.
 * @throws {TlsReloadError} `UNSUPPORTED` if the configuration has several certified keys, because a context holds one,
 * or if the runtime does not apply its revocation lists as the configuration demands, see `TlsState.tls`.
 */
export function secureContext(config: TlsConfig): SecureContext {
  const action = "make a context";
  const certifiedKey = requireOneKey(config, action, "use attach(), serve() or state.acceptor()");
  if (!revocationOf(config.clientAuth)) return contextOf(config);
  const options = { ...serverOptions(config, certifiedKey), ...runtimeRevocation(config.clientAuth, action) };
  return contextWith(options);
}

/**
 * Refuses an argument that is not a configuration.
 *
 * @throws {TypeError} If the argument is not a `TlsConfig`.
 */
export function requireConfig(action: string, config: unknown): void {
  if (config instanceof TlsConfig) return;
  const kind = kindInPlaceOf(config, "TlsConfig");
  throw new TypeError(`Cannot ${action}: the configuration must be a TlsConfig: ${kind}`);
}

/**
 * Refuses a configuration with several certified keys, because all keys except the first would be ignored.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` if there are several, or the configuration refuses unknown names.
 */
export function requireOneKey(config: TlsConfig, action: string, alternative: string): CertifiedKey {
  requireConfig(action, config);
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
