import { chainPemOf, keyPemOf } from "../config/certified_key.ts";
import { requireOneKey, type TlsConfig } from "../config/tls_config.ts";
import type { ListenAddress } from "../native/native_server.ts";
import { HIDDEN_KEY, showAs } from "../redaction.ts";
import { unsupported } from "../unsupported.ts";
import { namedServing } from "./internals.ts";
import { choosesByName, missingForNames, namedKeysOf } from "./named_keys.ts";

/** The TLS options of `Deno.listenTls` and `Deno.serve`. */
export interface DenoTlsOptions {
  /** The chain as PEM. */
  readonly cert: string;
  /** The private key as plain PKCS#8 PEM. */
  readonly key: string;
  /** The protocols offered by ALPN. */
  readonly alpnProtocols?: string[];
}

/**
 * Converts a configuration to the TLS options of `Deno.listenTls` and `Deno.serve`; a key that was encrypted is
 * decrypted. Deno reads them once. To change the certificate of a server, see {@linkcode listenTls} and {@linkcode
 * serve}.
 *
 * @param config The configuration.
 * @returns The options. They hold the private key, and hide it when printed; copies of them do not.
 * @throws {TlsReloadError} `UNSUPPORTED` for client authentication, versions, cipher suites, groups and several
 * certified keys, which the native servers of Deno do not have.
 */
export function listenTlsOptions(config: TlsConfig): DenoTlsOptions {
  const certifiedKey = requireOneKey(config, "serve", "use listenTls() or serve() of ./deno");
  requireNative(config);
  const { alpnProtocols } = config;
  const options = {
    cert: chainPemOf(certifiedKey),
    key: keyPemOf(certifiedKey),
    ...(alpnProtocols.length > 0 && { alpnProtocols: [...alpnProtocols] }),
  };
  return showAs(options, () => ({ ...options, key: HIDDEN_KEY }));
}

/** What a configuration needs and the native servers of Deno do not have, if anything. */
export function missingNatively(config: TlsConfig): string | undefined {
  const { clientAuth, minVersion, maxVersion, ciphers, ecdhCurve } = config;
  if (clientAuth) return "client authentication";
  if (minVersion !== "TLSv1.2") return "minVersion";
  if (maxVersion !== "TLSv1.3") return "maxVersion";
  if (ciphers !== undefined) return "ciphers";
  return ecdhCurve === undefined ? missingForNames(config) : "ecdhCurve";
}

/** Throws `UNSUPPORTED` for a configuration that the native servers of Deno cannot serve. */
export function requireNative(config: TlsConfig): void {
  const missing = missingNatively(config);
  if (missing) throw unsupported("serve", `its native servers have no ${missing}; start with mechanism: "front"`);
}

/** The options of a native listener of Deno. */
export interface NativeListenOptions {
  /** The options of `Deno.listenTls`. */
  readonly options: object;
  /** Resolves when another listener must take the place of this one; absent if it serves one name. */
  readonly exhausted?: Promise<void>;
}

/**
 * The options of a native listener: an address, and certificate and key, or a resolver of names.
 *
 * @param maxNames How many names the listener may be asked for.
 * @throws {TlsReloadError} `UNSUPPORTED` if the native servers of Deno cannot serve the configuration.
 */
export function nativeListenOptions(
  config: TlsConfig,
  { hostname, port, backlog, reusePort }: ListenAddress,
  maxNames?: number,
): NativeListenOptions {
  const address = { hostname, port, ...(backlog && { tcpBacklog: backlog }), ...(reusePort && { reusePort }) };
  if (!choosesByName(config)) return { options: { ...address, ...listenTlsOptions(config) } };
  requireNative(config);
  const { alpnProtocols } = config;
  const { resolve, exhausted } = namedKeysOf(config, maxNames);
  const options = {
    ...address,
    [namedServing()!.resolverSymbol]: resolve,
    ...(alpnProtocols.length > 0 && { alpnProtocols: [...alpnProtocols] }),
  };
  return { options, exhausted };
}
