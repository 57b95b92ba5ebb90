import { Buffer } from "node:buffer";
import type { SecureContext } from "node:tls";
import { requireState, type TlsState } from "../accept/tls_state.ts";
import { kindOf, requireOptions } from "../arguments.ts";
import { type CertifiedKey, chainPemOf, keyPemOf } from "../config/certified_key.ts";
import { contextWith } from "../config/server_options.ts";
import { HIDDEN_KEY, showAs } from "../redaction.ts";
import { RootCertStore } from "../roots/store.ts";
import { parseCertificates } from "../x509/certificate.ts";

/** Which servers a client trusts. */
export interface ClientTrust {
  /**
   * The authorities of the servers: PEM, or the store of `nativeRoots()`.
   *
   * @default The roots of the runtime.
   */
  readonly ca?: string | Uint8Array | RootCertStore | undefined;
}

/** The options of TLS clients. Each reading gives those of the current configuration. */
export interface TlsClientOptions {
  /** The chain of the client as PEM. */
  readonly cert: string;
  /**
   * Its private key as plain PKCS#8 PEM, in a buffer that hides its content when it is printed or becomes part of a
   * text, as in the names of the connections of an `https.Agent`. `key.toString()` returns the PEM.
   */
  readonly key: Buffer;
  /** The authorities of the servers as PEM, if they were given. */
  readonly ca?: string[];
  /**
   * A context of all three, for clients that would otherwise parse many authorities at each connection. A copy of the
   * options leaves it out, because `node:tls` ignores options such as `minVersion` beside a context.
   *
   * Pass `cert` beside it to an `https.Agent`: Node keeps sessions by `cert`, not by the context, and would resume a
   * session of the previous identity.
   */
  readonly secureContext: SecureContext;
}

/**
 * Makes the options of TLS clients whose certificate is that of a state: for `tls.connect()`, `https.request()`,
 * `http2.connect()`, `fetch()` of Bun, and clients of databases. Of several certified keys it is the default one.
 *
 * Spread the options, or read them, at each connection. A client that reads its options once, such as an agent or a
 * pool, is replaced at each swap: `state.subscribe()`. See docs/clients.md.
 *
 * The client authentication, ALPN, versions, cipher suites and groups of the configuration are those of servers, and do
 * not apply.
 *
 * @param state The state that holds the certificate of the client.
 * @param trust The authorities of the servers. They are never those of `clientAuth`.
 * @returns The options. They hold the private key, and hide it when they are printed, as `TlsState.tls` does.
 * @throws {TypeError} If `state` is not a `TlsState`, `ca` is not PEM or a store, or an option is unknown.
 * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE` or `CERTIFICATE_INVALID` for the authorities.
 *
 * @example
 * ```ts
 * import https from "node:https";
 * import type { TlsState } from "@x/tls-reload";
 * import { clientOptions } from "@x/tls-reload/node";
 *
 * function caller(state: TlsState, ca: string): (url: string) => void {
 *   const tls = clientOptions(state, { ca });
 *   const agent = new https.Agent({ keepAlive: true });
 *   // The agent keeps connections apart by certificate, so a request never gets one of the previous identity.
 *   return (url) => https.get(url, { ...tls, agent }, (response) => console.log(response.statusCode));
 * }
 * ```
 */
export function clientOptions(state: TlsState, trust: ClientTrust = {}): TlsClientOptions {
  requireState("make client options", state);
  requireOptions("clientOptions", trust, ["ca"], { roots: "ca", caCerts: "ca" });
  const ca = trust.ca === undefined ? undefined : pemOf(trust.ca);
  const identity = () => state.current().certifiedKeys[0]!;
  let context: { readonly of: CertifiedKey; readonly secureContext: SecureContext } | undefined;
  const options: TlsClientOptions = {
    get cert() {
      return chainPemOf(identity());
    },
    get key() {
      return keyOf(identity());
    },
    ...(ca && { ca }),
    get secureContext() {
      const current = identity();
      if (context?.of !== current) context = { of: current, secureContext: contextOf(current, ca) };
      return context.secureContext;
    },
  };
  return Object.defineProperty(options, "secureContext", { enumerable: false });
}

function pemOf(ca: NonNullable<ClientTrust["ca"]>): string[] {
  if (ca instanceof RootCertStore) return ca.pem;
  if (typeof ca !== "string" && !(ca instanceof Uint8Array)) {
    throw new TypeError(`Cannot make client options: 'ca' must be PEM or a RootCertStore: ${kindOf(ca)}`);
  }
  // The types of all three runtimes require a mutable array, although no runtime writes to it.
  return Object.freeze(parseCertificates(ca).map(({ pem }) => pem)) as string[];
}

function keyOf(certifiedKey: CertifiedKey): Buffer {
  const key = showAs(Buffer.from(keyPemOf(certifiedKey)), () => HIDDEN_KEY);
  return Object.defineProperty(key, Symbol.toPrimitive, { value: () => HIDDEN_KEY });
}

function contextOf(certifiedKey: CertifiedKey, ca: string[] | undefined): SecureContext {
  return contextWith({ cert: chainPemOf(certifiedKey), key: keyPemOf(certifiedKey), ...(ca && { ca }) });
}
