/**
 * Change the certificate, key or client CA of a TLS server without a restart and without dropping a connection, on
 * Deno, Bun and Node.
 *
 * ```ts
 * // Deno, Bun, Node
 * import net from "node:net";
 * import process from "node:process";
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * process.on("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * net.createServer((socket) => {
 *   state.acceptor().accept(socket).then((secure) => secure.end("hello\n"), console.warn);
 * }).listen(8443);
 * ```
 *
 * `@x/tls-reload/reload` reloads by itself when files change. `@x/tls-reload/node`, `@x/tls-reload/deno` and
 * `@x/tls-reload/bun` serve HTTP.
 *
 * @module
 */
export { type AuthorityStatus, type ExpectUnused, type SwapOptions } from "./src/accept/authority_use.ts";
export { certificatesIn, type CertificatesInOptions } from "./src/config/certificates_in.ts";
export { Certificate, parseCertificates } from "./src/x509/certificate.ts";
export { type CertificateFacts } from "./src/x509/certificate_fields.ts";
export { TlsReloadError, type TlsReloadErrorCode, type TlsReloadErrorOptions } from "./src/errors.ts";
export { type CertifiedKeyFiles } from "./src/config/load_certified_keys.ts";
export { type LoadAllOptions, type LoadOptions, loadTlsConfig } from "./src/config/load_tls_config.ts";
export { type Expectation } from "./src/config/expectation.ts";
export { type Severity } from "./src/findings/finding.ts";
export { encodePem, parsePem, type PemFile, type PemInput, type PemSection } from "./src/x509/pem.ts";
export { pemFromEnv } from "./src/x509/pem_from_env.ts";
export { parsePrivateKey } from "./src/x509/private_key.ts";
export { proveTlsConfig } from "./src/config/proof.ts";
export {
  nativeRoots,
  NativeRootsError,
  refreshNativeRoots,
  RootCertStore,
  type RootSource,
  warmNativeRoots,
} from "./src/roots.ts";
export { type AcceptOptions, type TlsAcceptor } from "./src/accept/tls_acceptor.ts";
export { type AllowClient, type ClientIdentity, clientIdentity } from "./src/accept/client_identity.ts";
export { type DrainOptions, type DrainWhen } from "./src/accept/drain_options.ts";
export { type Generation } from "./src/accept/live_connections.ts";
export { type ClientHello } from "./src/accept/client_hello.ts";
export { type CertifiedKey, type CertifiedKeyFacts, type CertifiedKeyInit } from "./src/config/certified_key.ts";
export {
  type ClientAuth,
  type ClientAuthMode,
  type StaleCrl,
  type TlsConfigInit,
  type TlsConfigOptions,
  type TlsVersion,
  type UnknownName,
} from "./src/config/options.ts";
export { type ClientAuthFacts } from "./src/config/client_auth.ts";
export { type CrlFacts } from "./src/x509/crl.ts";
export { type TlsServerOptions } from "./src/config/server_options.ts";
export { TlsConfig, type TlsConfigFacts } from "./src/config/tls_config.ts";
export type { TlsSwap } from "./src/accept/follower.ts";
export { TlsState } from "./src/accept/tls_state.ts";
export type { TlsStateOptions } from "./src/accept/tls_state_options.ts";
