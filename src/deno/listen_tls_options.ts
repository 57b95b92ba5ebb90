import { HIDDEN_KEY, showAs } from "../redaction.ts";
import { keyPemOf } from "../config/certified_key.ts";
import { requireOneKey, type TlsConfig } from "../config/tls_config.ts";
import { unsupported } from "../unsupported.ts";

/** What `Deno.listenTls` and `Deno.serve` take for TLS. */
export interface DenoTlsOptions {
  /** The chain as PEM. */
  readonly cert: string;
  /** The private key as plain PKCS#8 PEM. */
  readonly key: string;
  /** The protocols offered by ALPN. */
  readonly alpnProtocols?: string[];
}

/**
 * A configuration as `Deno.listenTls` and `Deno.serve` take it; a key that was encrypted is handed over decrypted. Deno
 * reads it once. To change the certificate of a server, see {@linkcode listenTls} and {@linkcode serve}.
 *
 * @param config What to serve with.
 * @returns The options. They hold the private key, and hide it when printed; copies of them do not.
 * @throws {TlsReloadError} `UNSUPPORTED` for client authentication, versions, cipher suites and groups: the native servers
 * of Deno cannot be told any of them.
 */
export function listenTlsOptions(config: TlsConfig): DenoTlsOptions {
  const missing = missingOption(config);
  if (missing) {
    throw unsupported("serve", `its native servers have no ${missing}; use listenTls() or serve() of ./deno`);
  }
  const certifiedKey = requireOneKey(config, "serve", "use listenTls() or serve() of ./deno");
  const { chain, alpnProtocols } = config;
  const options = {
    cert: chain.map(({ pem }) => pem).join(""),
    key: keyPemOf(certifiedKey),
    ...(alpnProtocols.length > 0 && { alpnProtocols: [...alpnProtocols] }),
  };
  return showAs(options, () => ({ ...options, key: HIDDEN_KEY }));
}

function missingOption({ clientAuth, minVersion, maxVersion, ciphers, ecdhCurve }: TlsConfig): string | undefined {
  if (clientAuth) return "client authentication";
  if (minVersion !== "TLSv1.2") return "minVersion";
  if (maxVersion !== "TLSv1.3") return "maxVersion";
  if (ciphers !== undefined) return "ciphers";
  return ecdhCurve === undefined ? undefined : "ecdhCurve";
}
