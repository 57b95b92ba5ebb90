import { filePath, readPemFile } from "../x509/pem_file.ts";
import { proveTlsConfig } from "./proof.ts";
import { TlsConfig, type TlsConfigOptions } from "./tls_config.ts";

/**
 * Reads a certificate chain and its private key, checks them, and proves by a handshake in memory that they can
 * serve. The same path twice reads a file that holds both. Needs read access to the files and nothing else.
 *
 * @param certPath The chain in PEM, the server's own certificate first.
 * @param keyPath The private key in PEM: PKCS#8, PKCS#1 or SEC1.
 * @param options Passphrase, ALPN, versions, and client authentication, whose `ca` is a path as well.
 * @returns The configuration.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, `FILE_TOO_LARGE`, whatever {@linkcode TlsConfig}
 * throws, with the path, and `CONFIG_UNUSABLE` if the handshake fails.
 * @throws {TypeError} If an option is none of its allowed values, or a URL is of no file.
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
  const { clientAuth, ...rest } = options;
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
