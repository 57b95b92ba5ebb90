import { Buffer } from "node:buffer";
import { constants } from "node:crypto";
import { HIDDEN_KEY, showAs } from "../redaction.ts";
import { type CertifiedKey, keyPemOf } from "./certified_key.ts";
import { encodeProtocols, type TlsSettings, type TlsVersion } from "./options.ts";

/** The options of the runtimes' own servers: `tls`, `https` and `http2` of Node, and `Bun.serve({ tls })`. */
export interface TlsServerOptions {
  /** The chain as PEM. */
  readonly cert: string;
  /** The private key as plain PKCS#8 PEM: a buffer, because a buffer can hide its content when it is printed. */
  readonly key: Buffer;
  /** The client authorities as PEM. */
  readonly ca?: string[];
  /** Whether clients are asked for a certificate. */
  readonly requestCert: boolean;
  /** Whether the runtime refuses clients without a good certificate. */
  readonly rejectUnauthorized: boolean;
  /** The protocols offered by ALPN in wire form (RFC 7301 section 3.1), the one form that every runtime takes. */
  readonly ALPNProtocols?: Uint8Array;
  /** Flags of OpenSSL: no renegotiation, because a TLS 1.2 client could become another one by it. */
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
 * A configuration with one of its certified keys, in the shape that the servers of all runtimes take.
 *
 * @param settings The configuration.
 * @param certifiedKey The certified key.
 * @returns The options, made afresh. They hold the private key, and hide it when printed.
 */
export function tlsOptions(settings: TlsSettings, certifiedKey: CertifiedKey): TlsServerOptions {
  const { alpnProtocols, minVersion, maxVersion, ciphers, ecdhCurve, clientAuth } = settings;
  return {
    cert: certifiedKey.chain.map(({ pem }) => pem).join(""),
    // Servers keep the options where `console.log(socket)` finds them.
    key: showAs(Buffer.from(keyPemOf(certifiedKey)), () => HIDDEN_KEY),
    requestCert: clientAuth !== undefined,
    rejectUnauthorized: clientAuth?.mode === "required",
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ...(clientAuth && { ca: clientAuth.ca.map(({ pem }) => pem) }),
    ...(alpnProtocols.length > 0 && { ALPNProtocols: encodeProtocols(alpnProtocols) }),
    // Bun.serve() does not know versions by name, so the defaults are left out.
    ...(minVersion !== "TLSv1.2" && { minVersion }),
    ...(maxVersion !== "TLSv1.3" && { maxVersion }),
    ...(ciphers !== undefined && { ciphers }),
    ...(ecdhCurve !== undefined && { ecdhCurve }),
  };
}

/**
 * The same for `node:tls`, whose default versions a command-line flag may have changed.
 *
 * @param settings The configuration.
 * @param certifiedKey The certified key.
 * @returns The options.
 */
export function serverOptions(settings: TlsSettings, certifiedKey: CertifiedKey): TlsServerOptions {
  const { minVersion, maxVersion } = settings;
  return { ...tlsOptions(settings, certifiedKey), minVersion, maxVersion };
}
