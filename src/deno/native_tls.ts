import type { TlsConfig } from "../config/tls_config.ts";
import { namedServing } from "./internals.ts";
import { listenTlsOptions, requireNative } from "./listen_tls_options.ts";
import { choosesByName, namedKeysOf } from "./named_keys.ts";

/** The TLS options of a native listener of Deno. */
export interface NativeTls {
  /** The options of `Deno.listenTls`. */
  readonly options: object;
  /** Resolves when another listener must take the place of this one; absent if it serves one name. */
  readonly exhausted?: Promise<void>;
}

/**
 * A configuration as options of one native listener: certificate and key, or a resolver of names.
 *
 * @param config The configuration.
 * @param maxNames How many names the listener may be asked for.
 * @throws {TlsReloadError} `UNSUPPORTED` if the native servers of Deno cannot serve it.
 */
export function nativeTlsOf(config: TlsConfig, maxNames?: number): NativeTls {
  if (!choosesByName(config)) return { options: listenTlsOptions(config) };
  requireNative(config);
  const { alpnProtocols } = config;
  const { resolve, exhausted } = namedKeysOf(config, maxNames);
  const options = {
    [namedServing()!.resolverSymbol]: resolve,
    ...(alpnProtocols.length > 0 && { alpnProtocols: [...alpnProtocols] }),
  };
  return { options, exhausted };
}
