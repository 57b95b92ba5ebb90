import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { TlsReloadError } from "../errors.ts";
import { hideKey } from "../node_internals.ts";
import { requireOptionsHonored } from "./option_proof.ts";
import { serverOptions } from "./server_options.ts";
import type { TlsConfig } from "./tls_config.ts";

/** Far above the few milliseconds that a proof takes. */
const TIMEOUT_MS = 10_000;
/** Configurations never change, so each one is proved once. */
const proved = new WeakSet<TlsConfig>();

/**
 * Proves that a configuration can serve: completes one TLS handshake in memory and compares the certificate that the
 * client receives. Runtimes accept configurations with which every handshake fails. Then offers the server what its
 * versions, cipher suites and groups forbid: runtimes silently ignore options. A configuration that has been proved is
 * not proved again.
 *
 * @param config The configuration to prove.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE`, with the error of the handshake as its cause; `UNSUPPORTED` if the runtime
 * ignores an option of the configuration.
 */
export async function proveTlsConfig(config: TlsConfig): Promise<void> {
  if (proved.has(config)) return;
  try {
    const served = await leafServedInMemory(config);
    if (served !== config.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
    await requireOptionsHonored(() => proofServer(config), config);
  } catch (cause) {
    if (cause instanceof TlsReloadError) throw cause;
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot use TLS config: no handshake succeeds with it", { cause });
  }
  proved.add(config);
}

/**
 * The fingerprint of the certificate that a client receives.
 *
 * @param client A client whose handshake has begun.
 * @param timeoutMs How long the connection may be silent.
 * @returns The fingerprint, once the client has completed its side of the handshake. Rejects if the handshake fails.
 */
export function servedFingerprint(client: TLSSocket, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    client.once("secureConnect", () => resolve(client.getPeerCertificate().fingerprint256));
    client.on("error", reject).once("close", () => reject(new Error("the connection was closed")));
    client.setTimeout(timeoutMs, () => reject(new Error(`no handshake within ${timeoutMs} ms`)));
  });
}

/** A server that does not listen. The client of the proof has no certificate, so the server does not require one. */
function proofServer(config: TlsConfig): Server {
  return hideKey(createServer({ ...serverOptions(config), rejectUnauthorized: false, handshakeTimeout: -1 }));
}

async function leafServedInMemory(config: TlsConfig): Promise<string | undefined> {
  const [near, far] = duplexPair();
  // Deno keeps a TLS socket until the socket itself is destroyed.
  const opened: Duplex[] = [near, far];
  try {
    const server = proofServer(config);
    const accepted = once(server, "secureConnection").then(([secure]) => opened.unshift(secure));
    const failed = once(server, "tlsClientError").then(([error]) => Promise.reject(error));
    failed.catch(() => {}); // not awaited once the handshake has succeeded
    server.emit("connection", near);
    const client = connect({ socket: far, rejectUnauthorized: false });
    opened.unshift(client);
    const [served] = await Promise.race([
      Promise.all([servedFingerprint(client, TIMEOUT_MS), accepted]),
      failed,
    ]);
    return served;
  } finally {
    for (const socket of opened) socket.destroy();
  }
}
