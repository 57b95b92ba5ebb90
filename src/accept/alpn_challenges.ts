import { isIP } from "node:net";
import { type Duplex, duplexPair } from "node:stream";
import type { Server } from "node:tls";
import { CertifiedKey, type CertifiedKeyInit } from "../config/certified_key.ts";
import type { TlsSettings } from "../config/settings.ts";
import { serverOptions } from "../config/server_options.ts";
import { canonicalAddress, normalizeName, reverseName } from "../x509/server_name.ts";
import { TlsReloadError } from "../errors.ts";
import { unsupported } from "../unsupported.ts";
import type { ClientHello } from "./client_hello.ts";
import { createInnerServer } from "./inner_server.ts";

/** The protocol that a validating server offers, and nothing else (RFC 8737 section 4). */
const ACME_PROTOCOL = "acme-tls/1";

/**
 * The pending challenges `tls-alpn-01` of ACME (RFC 8737), by the name that the validating server asks for.
 *
 * Invariant: a challenge is answered until its disposable is disposed of, and only to clients that offer `acme-tls/1`
 * alone.
 */
export class AlpnChallenges {
  readonly #certifiedKeys = new Map<string, CertifiedKey>();

  /** Whether no challenge is pending. */
  get isEmpty(): boolean {
    return this.#certifiedKeys.size === 0;
  }

  /**
   * Answers a challenge for a name or an address with the certificate that the ACME client has made, until the result
   * is disposed of.
   *
   * @throws {TlsReloadError} `CONFIG_UNUSABLE` if the certificate is not for this name alone; `UNSUPPORTED` if the
   * runtime cannot serve it; every error of {@linkcode CertifiedKey}.
   */
  answer(name: string, init: CertifiedKeyInit): Disposable {
    const isAddress = isIP(name) > 0;
    const identifier = isAddress ? canonicalAddress(name) : normalizeName(name);
    const certifiedKey = new CertifiedKey(init);
    const { dnsNames, ipAddresses } = certifiedKey.leaf;
    if (String([...dnsNames, ...ipAddresses].map(normalizeName)) !== identifier) {
      const message =
        "Cannot answer ALPN challenge: the certificate must hold the name that is validated, and no other";
      throw new TlsReloadError("CONFIG_UNUSABLE", message);
    }
    requireServable(certifiedKey);
    // RFC 8738 section 6: a ClientHello cannot hold an address.
    const key = isAddress ? reverseName(identifier) : identifier;
    this.#certifiedKeys.set(key, certifiedKey);
    return {
      [Symbol.dispose]: () => {
        if (this.#certifiedKeys.get(key) === certifiedKey) this.#certifiedKeys.delete(key);
      },
    };
  }

  /** Finds the answer to a client; `undefined` if the client does not validate a pending challenge. */
  find({ serverName, alpnProtocols }: ClientHello): CertifiedKey | undefined {
    if (serverName === undefined || alpnProtocols.length !== 1 || alpnProtocols[0] !== ACME_PROTOCOL) return undefined;
    return this.#certifiedKeys.get(serverName);
  }
}

/**
 * Makes a server that answers one challenge, on one connection. It does not listen, and does not request a client
 * certificate.
 */
export function createChallengeServer(certifiedKey: CertifiedKey, socket: Duplex): Server {
  return createInnerServer({ ...serverOptions(SETTINGS, certifiedKey) }, () => {}, socket);
}

const SETTINGS: TlsSettings = {
  alpnProtocols: [ACME_PROTOCOL],
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  ciphers: undefined,
  ecdhCurve: undefined,
  clientAuth: undefined,
  unknownName: "default",
};

/** Begins a handshake, because Deno refuses the critical extension of RFC 8737 only then. */
function requireServable(certifiedKey: CertifiedKey): void {
  const [near, far] = duplexPair();
  near.on("error", () => {});
  let refusal: unknown;
  createChallengeServer(certifiedKey, near)
    .once("tlsClientError", (error) => refusal = error)
    .emit("connection", near);
  near.destroy();
  far.destroy();
  if (refusal === undefined) return;
  throw unsupported(
    "answer ALPN challenge",
    "the runtime cannot serve its certificate; use http-01 or dns-01",
    refusal,
  );
}
