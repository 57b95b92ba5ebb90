/**
 * The system's trusted root certificates: read once for the whole process, each root once, with a warning for each file
 * that could not be read.
 *
 * | system | where the roots come from |
 * | --- | --- |
 * | any, with `SSL_CERT_FILE` or `SSL_CERT_DIR` set | that file, and each of those directories, in place of the following |
 * | Linux, BSD and other Unix | the first bundle of openssl-probe's list that exists, and all its directories that do |
 * | macOS | the keychains, through `/usr/bin/security`, and its trust settings |
 * | Windows | `tls.getCACertificates("system")` |
 *
 * On Deno this needs `--allow-env=SSL_CERT_FILE,SSL_CERT_DIR` and `--allow-read` of the places: `/etc/ssl` on Debian.
 * macOS takes `--allow-run=/usr/bin/security` and a temporary directory, Windows `--allow-sys=ca`.
 *
 * An empty variable, or an empty element of `SSL_CERT_DIR`, counts as not set, as for OpenSSL and Go.
 *
 * `NODE_EXTRA_CA_CERTS` is not read: it belongs to Node, not to the system's store, and on Deno it would need another
 * permission. Add its certificates with `(await nativeRoots()).with(await readFile(path))`.
 *
 * Name constraints of a root are part of its certificate and stay in force where the runtime checks them. Limits that
 * stand beside the certificate in a source are not kept: dates after which a root is distrusted, as p11-kit and NSS
 * write them, and the purposes of a `TRUSTED CERTIFICATE`, which is refused with a warning for that reason.
 *
 * A list of roots is less than the system's own verifier: see {@linkcode RootCertStore}.
 *
 * @module
 */
export { NativeRootsError } from "./errors.ts";
export { nativeRoots, refreshNativeRoots, warmNativeRoots } from "./roots/native_roots.ts";
export { RootCertStore, type RootSource } from "./roots/store.ts";
