/**
 * The trusted root certificates of the system, read once for the process. Each root is listed once. Each file that
 * cannot be read is a warning.
 *
 * ```ts
 * // Deno, Bun, Node
 * import https from "node:https";
 * import { nativeRoots } from "@x/tls-reload/roots";
 *
 * const roots = await nativeRoots();
 * const agent = new https.Agent({ secureContext: roots.secureContext() });
 * console.log(roots.size, "roots", roots.sources, roots.warnings, agent.maxSockets);
 * ```
 *
 * | system | source of the roots |
 * | --- | --- |
 * | any, with `SSL_CERT_FILE` or `SSL_CERT_DIR` set | that file and those directories, in place of the following sources |
 * | Linux, BSD and other Unix | the first existing bundle of the list of openssl-probe, and all its existing directories |
 * | macOS | the keychains and the trust settings, through `/usr/bin/security` |
 * | Windows | `tls.getCACertificates("system")` |
 *
 * On Deno this needs `--allow-env=SSL_CERT_FILE,SSL_CERT_DIR` and `--allow-read` of the places: `/etc/ssl` on Debian.
 * macOS takes `--allow-run=/usr/bin/security` and a temporary directory, Windows `--allow-sys=ca`.
 *
 * An empty variable, or an empty element of `SSL_CERT_DIR`, counts as not set, as in OpenSSL and Go.
 *
 * `NODE_EXTRA_CA_CERTS` is not read, because it belongs to Node and not to the system, and on Deno it would need
 * another permission. Add its certificates with `(await nativeRoots()).with(await readFile(path))`.
 *
 * Name constraints of a root are part of its certificate and apply if the runtime checks them. Limits beside the
 * certificate are not kept: dates after which a root is distrusted (p11-kit, NSS), and the purposes of a
 * `TRUSTED CERTIFICATE`, which is therefore refused with a warning.
 *
 * A list of roots is less than the verifier of the system, see {@linkcode RootCertStore}.
 *
 * @module
 */
export { NativeRootsError } from "./errors.ts";
export { nativeRoots, refreshNativeRoots, warmNativeRoots } from "./roots/native_roots.ts";
export { RootCertStore, type RootSource } from "./roots/store.ts";
