import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { TlsReloadError } from "../errors.ts";
import { LongTask } from "../long_task.ts";
import { hideKey } from "../node_internals/sockets.ts";
import { requireVersion } from "../unsupported.ts";
import { type CertifiedKey, isProved, markProved } from "./certified_key.ts";
import { keyTypeOf } from "./key_kind.ts";
import { proveBySignature, unusable } from "./key_proof.ts";
import { isRefusalOfKeyUsage } from "./key_usage.ts";
import { requireOptionsHonored } from "./option_proof.ts";
import { serverOptions } from "./server_options.ts";
import { requireConfig, type TlsConfig } from "./tls_config.ts";

/** The first version whose TLS servers make handshakes with sockets that they are given. */
const OLDEST = { bun: "1.4.0" };
/** Far longer than a proof, which takes a few milliseconds. */
const TIMEOUT_MS = 10_000;
/** Configurations that have been proved. They never change, so one proof is enough. */
const provedConfigs = new WeakSet<TlsConfig>();

/**
 * Proves that a configuration can serve. Completes a TLS handshake in memory and compares the certificate that the
 * client receives, because runtimes accept configurations with which every handshake fails. Then offers the server the
 * versions, cipher suites and groups that the configuration forbids, because runtimes ignore some options silently.
 *
 * Of several certified keys, the default and one of each other kind of key make a handshake. Each other RSA key signs a
 * sample that its certificate must verify; from EC and Ed25519 keys the runtime has derived the public key of their
 * certificate. Configurations and keys that have been proved are not proved again.
 *
 * @param config The configuration to prove.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE`, with the error of the handshake as its cause; `UNSUPPORTED` if the
 * runtime ignores an option of the configuration, or makes no handshake in memory (Bun before 1.4).
 */
export async function proveTlsConfig(config: TlsConfig): Promise<void> {
  if (provedConfigs.has(config)) return;
  requireConfig("prove TLS config", config);
  requireVersion("prove TLS config", OLDEST, "use new TlsConfig(): serve() proves what it serves");
  try {
    const [first] = config.certifiedKeys as [CertifiedKey];
    await proveByHandshake(config, first);
    await requireOptionsHonored(() => proofServer(config, first), config);
    await proveOthers(config);
  } catch (cause) {
    if (cause instanceof TlsReloadError) throw cause;
    const message = "Cannot use TLS config: no handshake succeeds with it";
    throw new TlsReloadError("CONFIG_UNUSABLE", message, { cause });
  }
  provedConfigs.add(config);
}

async function proveOthers(config: TlsConfig): Promise<void> {
  // Runtimes refuse RSA keys that are too short, so each size is a kind of its own.
  const kinds = new Set([keyTypeOf(config.leaf)]);
  const task = new LongTask();
  for (const certifiedKey of config.certifiedKeys) {
    const kind = keyTypeOf(certifiedKey.leaf);
    const isNewKind = !kinds.has(kind);
    if (!isNewKind && isProved(certifiedKey)) continue;
    await task.pause();
    if (!isNewKind) {
      proveBySignature(certifiedKey);
      continue;
    }
    // Also if the key has been proved, because the settings may be new.
    await proveByHandshake(config, certifiedKey).catch((cause) => {
      throw unusable(certifiedKey, cause);
    });
    kinds.add(kind);
  }
}

async function proveByHandshake(config: TlsConfig, certifiedKey: CertifiedKey): Promise<void> {
  const served = await leafServedInMemory(config, certifiedKey).catch((error) => {
    // The client has received the certificate and refuses it; other clients do not.
    if (!isRefusalOfKeyUsage(error)) throw error;
    proveBySignature(certifiedKey);
    return certifiedKey.leaf.fingerprint256;
  });
  if (served !== certifiedKey.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
  markProved(certifiedKey);
}

/**
 * Waits for the certificate that a client receives: its fingerprint, once the client has completed its side of the
 * handshake. Rejects if the handshake fails, or the connection is silent for `timeoutMs`.
 */
export function servedFingerprint(client: TLSSocket, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    client.once("secureConnect", () => resolve(client.getPeerCertificate().fingerprint256));
    client.on("error", reject).once("close", () => reject(new Error("the connection was closed")));
    client.setTimeout(timeoutMs, () => reject(new Error(`no handshake within ${timeoutMs} ms`)));
  });
}

/** Makes a server that does not listen. It requires no client certificate, because the client of the proof has none. */
function proofServer(config: TlsConfig, certifiedKey: CertifiedKey): Server {
  return hideKey(
    createServer({ ...serverOptions(config, certifiedKey), rejectUnauthorized: false, handshakeTimeout: -1 }),
  );
}

async function leafServedInMemory(config: TlsConfig, certifiedKey: CertifiedKey): Promise<string | undefined> {
  const [near, far] = duplexPair();
  // Deno keeps a TLS socket until the socket itself is destroyed.
  const opened: Duplex[] = [near, far];
  try {
    const server = proofServer(config, certifiedKey);
    const accepted = once(server, "secureConnection").then(([secure]) => opened.unshift(secure));
    const failed = once(server, "tlsClientError").then(([error]) => Promise.reject(error));
    // A handshake that has succeeded leaves this promise unobserved.
    failed.catch(() => {});
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
