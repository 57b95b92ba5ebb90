import { type Duplex, duplexPair } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
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
  // Deno keeps for ever a TLS socket that is not destroyed itself.
  const opened: Duplex[] = [near, far];
  try {
    const accepted = new TlsAcceptor(config).accept(near).then((secure) => opened.unshift(secure));
    accepted.catch(() => {}); // in case that connect() throws, and nobody else hears of it
    const client = connect({ socket: far, rejectUnauthorized: false });
    opened.unshift(client);
    const served = await servedCertificate(client, accepted);
    if (served !== config.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
  } catch (cause) {
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot use TLS config: no handshake succeeds with it", { cause });
  } finally {
    for (const socket of opened) socket.destroy();
  }
}

/** The fingerprint that a client sees, who shows no certificate of its own, once both sides are done. */
async function servedCertificate(client: TLSSocket, accepted: Promise<unknown>): Promise<string | undefined> {
  const seen = new Promise<string | undefined>((resolve, reject) => {
    client.once("secureConnect", () => resolve(client.getPeerCertificate().fingerprint256));
    client.on("error", reject).once("close", () => reject(new Error("the connection was closed")));
  });
  // In TLS 1.3, which is spoken unless a flag of Node forbids it, the client is done before it is asked who it is.
  const entered = accepted.catch((error) => {
    if (error.code !== "CLIENT_UNAUTHORIZED") throw error;
  });
  const [served] = await Promise.all([seen, entered]);
  return served;
}
