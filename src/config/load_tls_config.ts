import { requireOptions, requirePath } from "../arguments.ts";
import { filePath, readPemFile } from "../x509/pem_file.ts";
import { OPTION_HINTS, OPTION_NAMES, requireSettings, type TlsConfigOptions } from "./options.ts";
import { proveTlsConfig } from "./proof.ts";
import { TlsConfig } from "./tls_config.ts";

/**
 * Reads a certificate chain and its private key, checks them, and proves by a handshake in memory that they can serve.
 * The same path twice reads one file that holds both. Needs read access to the files and nothing else.
 *
 * @param certPath The chain in PEM, the server's own certificate first.
 * @param keyPath The private key in PEM: PKCS#8, PKCS#1 or SEC1.
 * @param options Passphrase, ALPN, versions, cipher suites, groups, and client authentication, whose `ca` is a path too.
 * @returns The configuration.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, `FILE_TOO_LARGE`, every error of {@linkcode TlsConfig},
 * with the path, and those of {@linkcode proveTlsConfig}.
 * @throws {TypeError} If an argument is not a path, or an option is unknown or is none of its allowed values.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 *
 * const state = new TlsState(await loadTlsConfig("fullchain.pem", "privkey.pem"));
 * ```
 */
export async function loadTlsConfig(
  certPath: string | URL,
  keyPath: string | URL,
  options: TlsConfigOptions<string | URL> = {},
): Promise<TlsConfig> {
  requirePath("loadTlsConfig", "certPath", certPath);
  requirePath("loadTlsConfig", "keyPath", keyPath);
  requireOptions("loadTlsConfig", options, OPTION_NAMES, OPTION_HINTS);
  requireSettings(options);
  const { clientAuth, ...rest } = options;
  if (clientAuth) requirePath("loadTlsConfig", "clientAuth.ca", clientAuth.ca);

  const cert = await readPemFile(certPath);
  const key = filePath(keyPath) === cert.path ? cert : await readPemFile(keyPath);
  const config = new TlsConfig({
    ...rest,
    cert,
    key,
    ...(clientAuth && { clientAuth: { ...clientAuth, ca: await readPemFile(clientAuth.ca) } }),
  });
  await proveTlsConfig(config);
  return config;
}
