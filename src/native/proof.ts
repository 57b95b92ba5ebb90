import { connect } from "node:tls";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { isRefusalOfKeyUsage } from "../config/key_usage.ts";
import { servedFingerprint } from "../config/proof.ts";
import { TlsReloadError } from "../errors.ts";

/** Far above the few milliseconds that a proof takes. */
const TIMEOUT_MS = 10_000;

/**
 * Completes one handshake with a native server on the loopback interface and compares the certificate that it serves.
 *
 * @param onConnected Called before the handshake with the port that the connection comes from.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE` if no handshake succeeds, or another certificate is served.
 */
export async function proveServer(
  port: number,
  { config }: TlsAcceptor,
  onConnected: (localPort: number) => void = () => {},
): Promise<void> {
  const { ciphers, ecdhCurve, maxVersion } = config;
  const client = connect({
    host: "127.0.0.1",
    port,
    rejectUnauthorized: false,
    // In TLS 1.3 the handshake of a client is complete before the server misses its certificate.
    minVersion: maxVersion,
    ...(ciphers !== undefined && { ciphers }),
    ...(ecdhCurve !== undefined && { ecdhCurve }),
  });
  client.once("connect", () => onConnected(client.localPort!));
  try {
    const served = await servedFingerprint(client, TIMEOUT_MS);
    if (served !== config.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
  } catch (cause) {
    // The client of Bun has received the certificate and refuses it; other clients do not.
    if (isRefusalOfKeyUsage(cause)) return;
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot serve: no handshake with the native server succeeds", {
      cause,
    });
  } finally {
    client.destroy();
  }
}
