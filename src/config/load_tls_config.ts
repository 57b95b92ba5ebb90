import { requireOptions, requirePath } from "../arguments.ts";
import { MAX_CRL_BYTES } from "../x509/crl.ts";
import type { PemInput } from "../x509/pem.ts";
import { readPemSource } from "../x509/pem_source.ts";
import { sourcesOf } from "./client_auth.ts";
import { CERTIFIED_KEY_PARTS, CertifiedKey } from "./certified_key.ts";
import { type Expectation, requireExpectation, requireExpected } from "./expectation.ts";
import { type CertifiedKeyFiles, loadCertifiedKeys } from "./load_certified_keys.ts";
import { type ClientAuthOptions, OPTION_HINTS, OPTION_NAMES, type TlsConfigOptions } from "./options.ts";
import { proveTlsConfig } from "./proof.ts";
import { requirePassphrase, requireSettings } from "./settings.ts";
import { TlsConfig } from "./tls_config.ts";

/** The options of {@linkcode loadTlsConfig} for several certified keys. */
export interface LoadAllOptions extends TlsConfigOptions<string | URL> {
  /** What the configuration must be, beside able to serve: names, remaining time, findings. */
  readonly expect?: Expectation | undefined;
}

/** The options of {@linkcode loadTlsConfig} for one certified key. */
export interface LoadOptions extends LoadAllOptions {
  /** The passphrase of an encrypted private key. */
  readonly passphrase?: string | undefined;
}

const LOAD_OPTION_NAMES = [...OPTION_NAMES, "expect"];

/**
 * Reads several certified keys, for servers of several names, or of one name with an RSA and an ECDSA key. A client
 * gets the key whose certificate holds the name that it asks for. A certified key that is unchanged since an earlier
 * load, and still in use, is neither parsed nor proved again; files whose size, inode and times are the same are not
 * even read.
 *
 * @param certifiedKeys Their files, the default first; or `CertifiedKey` objects of another configuration.
 * @param options ALPN, versions, cipher suites, groups, the answer to unknown names, and client authentication.
 * @returns The configuration.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, `FILE_TOO_LARGE`, every error of {@linkcode TlsConfig},
 * with the path, and those of {@linkcode proveTlsConfig}.
 * @throws {TypeError} If there is no certified key, a path is invalid, or an option is unknown or invalid.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 *
 * const state = new TlsState(
 *   await loadTlsConfig([
 *     { cert: "www.crt", key: "www.key" },
 *     { cert: "mail.crt", key: "mail.key" },
 *   ], { unknownName: "refuse" }),
 * );
 * ```
 */
export async function loadTlsConfig(
  certifiedKeys: readonly (CertifiedKeyFiles | CertifiedKey)[],
  options?: LoadAllOptions,
): Promise<TlsConfig>;
/**
 * Reads a certificate chain and its private key, checks them, and proves by a handshake in memory that they can serve.
 * If both paths are the same, the file holds both and is read once. Needs no permission except to read the files.
 *
 * A FIFO and `/dev/stdin` can be loaded too, but only once, because a second load finds them empty. An encrypted key is
 * decrypted in the background, without blocking the event loop; {@linkcode parsePrivateKey} names the limits.
 *
 * @param certPath The chain in PEM, the server's own certificate first; or one certificate in DER.
 * @param keyPath The private key in PEM or DER: PKCS#8, PKCS#1 or SEC1.
 * @param options Passphrase, ALPN, versions, cipher suites, groups, and client authentication, whose `ca`, `crl` and
 * `intermediates` are paths too.
 * @returns The configuration.
 * @throws {TlsReloadError} `FILE_NOT_FOUND`, `FILE_UNREADABLE`, `FILE_TOO_LARGE`, every error of {@linkcode TlsConfig},
 * with the path, and those of {@linkcode proveTlsConfig}.
 * @throws {TypeError} If an argument is not a path, or an option is unknown or invalid.
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
  options?: LoadOptions,
): Promise<TlsConfig>;
export async function loadTlsConfig(
  first: string | URL | readonly (CertifiedKeyFiles | CertifiedKey)[],
  second: string | URL | LoadAllOptions = {},
  third: LoadOptions = {},
): Promise<TlsConfig> {
  if (Array.isArray(first)) return await loadAll(first, second as LoadAllOptions);
  requirePath("loadTlsConfig", "certPath", first);
  requirePath("loadTlsConfig", "keyPath", second);
  requireOptions("loadTlsConfig", third, ["passphrase", ...LOAD_OPTION_NAMES], OPTION_HINTS);
  const { passphrase, ...options } = third;
  const files = { cert: first as string | URL, key: second as string | URL, passphrase };
  return await loadAll([files], options);
}

async function loadAll(
  entries: readonly (CertifiedKeyFiles | CertifiedKey)[],
  options: LoadAllOptions,
): Promise<TlsConfig> {
  requireOptions("loadTlsConfig", options, LOAD_OPTION_NAMES, OPTION_HINTS);
  const { clientAuth, expect, ...rest } = options;
  requireSettings(options);
  if (expect !== undefined) requireExpectation(expect);
  if (clientAuth) requireClientAuthPaths(clientAuth);
  for (const entry of entries) requireFiles(entry);

  const certifiedKeys = await loadCertifiedKeys(entries);
  const config = new TlsConfig({
    ...rest,
    certifiedKeys,
    ...(clientAuth && { clientAuth: await readClientAuth(clientAuth) }),
  });
  await proveTlsConfig(config);
  if (expect !== undefined) await requireExpected(config, expect);
  return config;
}

async function readClientAuth(options: ClientAuthOptions<string | URL>): Promise<ClientAuthOptions<PemInput>> {
  const { ca, crl, intermediates, ...rest } = options;
  return {
    ...rest,
    ca: await readPemSource(ca),
    crl: await Promise.all(sourcesOf(crl).map((path) => readPemSource(path, { maxBytes: MAX_CRL_BYTES }))),
    intermediates: await Promise.all(sourcesOf(intermediates).map((path) => readPemSource(path))),
  };
}

function requireClientAuthPaths({ ca, crl, intermediates }: ClientAuthOptions<string | URL>): void {
  requirePath("loadTlsConfig", "clientAuth.ca", ca);
  for (const path of sourcesOf(crl)) requirePath("loadTlsConfig", "clientAuth.crl", path);
  for (const path of sourcesOf(intermediates)) requirePath("loadTlsConfig", "clientAuth.intermediates", path);
}

function requireFiles(entry: CertifiedKeyFiles | CertifiedKey): void {
  if (entry instanceof CertifiedKey) return;
  requireOptions("loadTlsConfig", entry, CERTIFIED_KEY_PARTS);
  requirePath("loadTlsConfig", "cert", entry.cert);
  requirePath("loadTlsConfig", "key", entry.key);
  requirePassphrase(entry.passphrase);
}
