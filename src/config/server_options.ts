import { Buffer } from "node:buffer";
import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import { location, TlsReloadError } from "../errors.ts";
import { HIDDEN_CONTEXT, HIDDEN_KEY, showAs } from "../redaction.ts";
import { type CertifiedKey, chainPemOf, keyPemOf } from "./certified_key.ts";
import { isRefusalOfKeyUsage } from "./key_usage.ts";
import type { TlsVersion } from "./options.ts";
import { runtimeRevocation } from "./runtime_revocation.ts";
import { encodeProtocols, type TlsSettings } from "./settings.ts";

/** The options of the servers of the runtimes: `node:tls`, `node:https`, `node:http2`, and `Bun.serve({ tls })`. */
export interface TlsServerOptions {
  /** The chain as PEM. */
  readonly cert: string;
  /** The private key as plain PKCS#8 PEM, in a buffer that hides its content when it is printed. */
  readonly key: Buffer;
  /** The client authorities as PEM. */
  readonly ca?: string[];
  /** The revocation lists as PEM, for a server that checks them itself. */
  readonly crl?: string[];
  /** Whether the server requests a certificate from clients. */
  readonly requestCert: boolean;
  /** Whether the runtime refuses clients without a valid certificate. */
  readonly rejectUnauthorized: boolean;
  /** The protocols offered by ALPN in wire form (RFC 7301 section 3.1), the only form that every runtime accepts. */
  readonly ALPNProtocols?: Uint8Array;
  /** Flags of OpenSSL: no renegotiation, because a TLS 1.2 client could change its identity by it. */
  readonly secureOptions: number;
  /** The lowest protocol version; absent if it is TLS 1.2, the default of every runtime. */
  readonly minVersion?: TlsVersion;
  /** The highest protocol version; absent if it is TLS 1.3, the default of every runtime. */
  readonly maxVersion?: TlsVersion;
  /** The cipher suites, if they are limited. */
  readonly ciphers?: string;
  /** The groups for key exchange, if they are limited. */
  readonly ecdhCurve?: string;
}

/**
 * Like {@linkcode tlsOptions}, for a server that verifies its clients without this module. Adds the revocation lists.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` if the runtime does not apply the lists as the configuration demands.
 */
export function bareOptions(settings: TlsSettings, certifiedKey: CertifiedKey, action: string): TlsServerOptions {
  return { ...tlsOptions(settings, certifiedKey), ...runtimeRevocation(settings.clientAuth, action) };
}

/**
 * Converts a configuration with one of its certified keys to the options that the servers of all runtimes accept.
 * Leaves out the revocation lists, because the verification of this module looks clients up in them.
 *
 * @param settings The configuration.
 * @param certifiedKey The certified key.
 * @returns A new object. It holds the private key, and hides the key when it is printed.
 */
export function tlsOptions(settings: TlsSettings, certifiedKey: CertifiedKey): TlsServerOptions {
  const { alpnProtocols, minVersion, maxVersion, ciphers, ecdhCurve, clientAuth } = settings;
  return {
    cert: chainPemOf(certifiedKey),
    // Servers keep the options in properties that `console.log(socket)` prints.
    key: showAs(Buffer.from(keyPemOf(certifiedKey)), () => HIDDEN_KEY),
    requestCert: clientAuth !== undefined,
    rejectUnauthorized: clientAuth?.mode === "required",
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ...(clientAuth && { ca: clientAuth.ca.map(({ pem }) => pem) }),
    ...(alpnProtocols.length > 0 && { ALPNProtocols: encodeProtocols(alpnProtocols) }),
    // Bun.serve() does not accept the names of versions, so the defaults are left out.
    ...(minVersion !== "TLSv1.2" && { minVersion }),
    ...(maxVersion !== "TLSv1.3" && { maxVersion }),
    ...(ciphers !== undefined && { ciphers }),
    ...(ecdhCurve !== undefined && { ecdhCurve }),
  };
}

/**
 * Like {@linkcode tlsOptions}, for `node:tls`. Always sets both versions, because a command-line flag may change the
 * defaults of Node.
 */
export function serverOptions(settings: TlsSettings, certifiedKey: CertifiedKey): TlsServerOptions {
  const { minVersion, maxVersion } = settings;
  return { ...tlsOptions(settings, certifiedKey), minVersion, maxVersion };
}

/** Makes a context of the runtime that hides its private key when it is printed. */
export function contextWith(options: SecureContextOptions): SecureContext {
  return showAs(createSecureContext(options), () => HIDDEN_CONTEXT);
}

/**
 * Builds the context of a configuration with one of its certified keys.
 *
 * @throws {TlsReloadError} `CONFIG_UNUSABLE` if the runtime refuses the configuration.
 */
export function buildContext(settings: TlsSettings, certifiedKey: CertifiedKey): SecureContext {
  try {
    return contextWith(serverOptions(settings, certifiedKey));
  } catch (cause) {
    const { path } = certifiedKey;
    const reason = isRefusalOfKeyUsage(cause) ? ": the key usage of its certificate lacks digitalSignature" : "";
    const message = `Cannot use TLS config${location({ path })}: the runtime refuses it${reason}`;
    throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause, path });
  }
}
