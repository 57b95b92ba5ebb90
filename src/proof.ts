import { type Duplex, duplexPair } from "node:stream";
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
  try {
    const served = await servedCertificate(accepted, far);
    // Deno would keep for ever a TLS socket that is not destroyed itself: here, and that of the client below.
    await accepted.then((secure) => secure.destroy(), () => {});
    if (served !== config.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
  } catch (cause) {
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot use TLS config: no handshake succeeds with it", { cause });
  } finally {
    near.destroy();
    far.destroy();
  }
}

/** The fingerprint that a client sees, who shows no certificate of its own. */
function servedCertificate(accepted: Promise<unknown>, socket: Duplex): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    // In TLS 1.3, which is spoken unless a flag of Node forbids it, the client is done before it is asked who it is.
    accepted.catch((error) => {
      if (error.code !== "CLIENT_UNAUTHORIZED") reject(error);
    });
    const client = connect({ socket, rejectUnauthorized: false });
    client.once("secureConnect", () => resolve(client.getPeerCertificate().fingerprint256));
    client.on("error", reject);
    accepted.finally(() => client.destroy()).catch(() => {});
  });
}
