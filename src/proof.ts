import { duplexPair } from "node:stream";
import { connect } from "node:tls";
import { TlsReloadError } from "./errors.ts";
import { TlsAcceptor } from "./tls_acceptor.ts";
import type { TlsConfig } from "./tls_config.ts";

/**
 * Proves that a configuration can serve: completes one TLS handshake in memory and compares the certificate that the
 * client receives. Runtimes accept configurations with which every handshake fails; this tells before it matters.
 *
 * @param config What to prove.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE`, the error of the handshake being its cause.
 */
export async function proveTlsConfig(config: TlsConfig): Promise<void> {
  const [near, far] = duplexPair();
  const accepted = new TlsAcceptor(config).accept(near);
  // In TLS 1.3 the client completes its handshake before the server asks whether the client may enter.
  const client = connect({ socket: far, rejectUnauthorized: false, minVersion: "TLSv1.3" });
  try {
    const served = await new Promise<string | undefined>((resolve, reject) => {
      client.once("secureConnect", () => resolve(client.getPeerX509Certificate()?.fingerprint256));
      client.on("error", reject);
      accepted.catch((error) => {
        if (error.code !== "CLIENT_UNAUTHORIZED") reject(error);
      });
    });
    if (served !== config.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
  } catch (cause) {
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot use TLS config: no handshake succeeds with it", { cause });
  } finally {
    client.destroy();
    near.destroy();
    far.destroy();
  }
}
