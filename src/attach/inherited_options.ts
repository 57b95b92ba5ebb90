import type { Server, TlsOptions } from "node:tls";
import type { CertifiedKey } from "../config/certified_key.ts";
import { crlPemsOf } from "../config/client_auth.ts";
import { serverOptions } from "../config/server_options.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { callbacksOf, keptOptions, settingsOf } from "../node_internals/kept_options.ts";
import { unsupported } from "../unsupported.ts";

/**
 * The options that a server was created with and keeps while it is attached.
 *
 * Invariant: it never holds an option that the server got from a configuration by `state.tls`, so a later configuration
 * can omit the option.
 */
export class InheritedOptions {
  readonly #kept: TlsOptions;

  /**
   * Reads the options of a server.
   *
   * @param config The configuration that is current when the server is attached.
   */
  constructor(server: Server, config: TlsConfig) {
    const crl = config.clientAuth && crlPemsOf(config.clientAuth);
    const ofConfig: Readonly<Record<string, unknown>> = { ...serverOptions(config, config.certifiedKeys[0]!), crl };
    const kept = Object.entries(keptOptions(server)).filter(([name, value]) =>
      value !== ofConfig[name] && String(value) !== String(ofConfig[name])
    );
    const { ALPNProtocols } = settingsOf(server);
    this.#kept = { ...Object.fromEntries(kept), ...(ALPNProtocols && { ALPNProtocols }) };
  }

  /** Whether the server has no option that can conflict with a configuration. */
  get isEmpty(): boolean {
    return Object.keys(this.#kept).every((name) => HARMLESS.has(name));
  }

  /** Combines the options with those of a configuration, which take precedence. */
  with(config: TlsConfig, certifiedKey: CertifiedKey = config.certifiedKeys[0]!): TlsOptions {
    const { minVersion, maxVersion, secureOptions, ...options } = serverOptions(config, certifiedKey);
    const kept = this.#kept;
    return {
      ...kept,
      ...options,
      // The default versions of a configuration do not widen the range of the server.
      minVersion: minVersion === "TLSv1.2" ? stricter(kept.minVersion, minVersion) : minVersion,
      maxVersion: maxVersion === "TLSv1.3" ? kept.maxVersion ?? maxVersion : maxVersion,
      secureOptions: (kept.secureOptions ?? 0) | secureOptions,
    };
  }
}

/** Options that cannot conflict with a configuration. */
const HARMLESS: ReadonlySet<string> = new Set([
  "ALPNProtocols",
  "enableTrace",
  "honorCipherOrder",
  "sessionIdContext",
  "sessionTimeout",
]);

/** The higher one of two lowest versions. Versions below TLS 1.2 are never served. */
function stricter(own: TlsOptions["minVersion"], lowest: TlsOptions["minVersion"]): TlsOptions["minVersion"] {
  return own === "TLSv1.3" ? own : lowest;
}

/**
 * Refuses a server with settings that would be ignored.
 *
 * @param config The configuration that is current when the server is attached.
 * @throws {TlsReloadError} `UNSUPPORTED`, naming the setting and what to use instead.
 */
export function requireInheritable(server: Server, config: TlsConfig): void {
  const { SNICallback, ALPNCallback, pskCallback, secureProtocol, addedContexts } = callbacksOf(server);
  const refuse = (what: string, alternative: string) => {
    throw unsupported("attach to server", `the server has ${what}, which a swap cannot change; ${alternative}`);
  };
  if (SNICallback) refuse("an SNICallback", "use secureContext() in it without attach(), or one configuration");
  if (addedContexts > 0) refuse("contexts of addContext()", "put every name into one configuration");
  if (ALPNCallback) refuse("an ALPNCallback", "use alpnProtocols of TlsConfig");
  if (pskCallback) refuse("a pskCallback", "use certificates");
  if (secureProtocol) refuse("secureProtocol", "use minVersion and maxVersion of TlsConfig");
  const { requestCert } = settingsOf(server);
  if (requestCert && !config.clientAuth) refuse("requestCert", "use clientAuth of TlsConfig");
}
