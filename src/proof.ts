import { type Duplex, duplexPair } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { TlsReloadError } from "./errors.ts";
import { TlsAcceptor } from "./tls_acceptor.ts";
import type { TlsConfig } from "./tls_config.ts";

/** Far above the few milliseconds that it takes. */
const TIMEOUT_MS = 10_000;
/** A configuration never changes: who loads one, who reloads and who serves it need no proof each. */
const proved = new WeakSet<TlsConfig>();

/**
 * Proves that a configuration can serve: completes one TLS handshake in memory and compares the certificate that the
 * client receives. Runtimes accept configurations with which every handshake fails; this tells before it matters. What
 * has been proved once is not proved again.
 *
 * @param config What to prove.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE`, the error of the handshake being its cause.
 */
export async function proveTlsConfig(config: TlsConfig): Promise<void> {
  if (proved.has(config)) return;
  const [near, far] = duplexPair();
  // Deno keeps for ever a TLS socket that is not destroyed itself.
  const opened: Duplex[] = [near, far];
  try {
    const accepted = new TlsAcceptor(config).accept(near).then((secure) => opened.unshift(secure));
    accepted.catch(() => {}); // in case that connect() throws, and nobody else hears of it
    const client = connect({ socket: far, rejectUnauthorized: false });
    opened.unshift(client);
    // A client of TLS 1.3 is done before it is asked who it is. In TLS 1.2, which is spoken where a flag of Node forbids
    // the other, it has accepted by then all that the server shows, and is not told what the acceptor refuses it for.
    let isRefused = false;
    const entered = accepted.catch((error) => {
      if (error.code !== "CLIENT_UNAUTHORIZED") throw error;
      isRefused = true;
      client.destroy();
    });
    const seen = servedFingerprint(client, TIMEOUT_MS).catch(async (error) => {
      await new Promise(setImmediate);
      if (!isRefused) throw error;
      return config.leaf.fingerprint256;
    });
    const [served] = await Promise.all([seen, entered]);
    if (served !== config.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
    proved.add(config);
  } catch (cause) {
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot use TLS config: no handshake succeeds with it", { cause });
  } finally {
    for (const socket of opened) socket.destroy();
  }
}

/**
 * The fingerprint of the certificate that a client is served.
 *
 * @param client A client whose handshake has begun.
 * @param timeoutMs How long it may be silent.
 * @returns The fingerprint, when the client's side of the handshake is done; rejects if it fails.
 */
export function servedFingerprint(client: TLSSocket, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    client.once("secureConnect", () => resolve(client.getPeerCertificate().fingerprint256));
    client.on("error", reject).once("close", () => reject(new Error("the connection was closed")));
    client.setTimeout(timeoutMs, () => reject(new Error(`no handshake within ${timeoutMs} ms`)));
  });
}
