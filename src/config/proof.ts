import { Buffer } from "node:buffer";
import { sign, verify } from "node:crypto";
import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { location, TlsReloadError } from "../errors.ts";
import { hideKey } from "../node_internals.ts";
import { Turns } from "../turns.ts";
import type { Certificate } from "../x509/certificate.ts";
import { type CertifiedKey, keyPemOf } from "./certified_key.ts";
import { keyKindOf } from "./key_choice.ts";
import { requireOptionsHonored } from "./option_proof.ts";
import { serverOptions } from "./server_options.ts";
import type { TlsConfig } from "./tls_config.ts";

/** Far above the few milliseconds that a proof takes. */
const TIMEOUT_MS = 10_000;
/** Configurations never change, so each one is proved once. */
const proved = new WeakSet<TlsConfig>();
/** Certified keys never change either; they are carried over from one configuration to the next. */
const provedKeys = new WeakSet<CertifiedKey>();
/** What a key signs to prove itself. */
const SAMPLE = Buffer.from("proof");

/**
 * Proves that a configuration can serve: completes one TLS handshake in memory and compares the certificate that the
 * client receives. Runtimes accept configurations with which every handshake fails. Then offers the server what its
 * versions, cipher suites and groups forbid: runtimes silently ignore options. Of several certified keys one of each
 * kind makes a handshake, the default among them; each other one signs what its certificate verifies, unless it has done so
 * before. A configuration that has been proved is not proved again.
 *
 * @param config The configuration to prove.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE`, with the error of the handshake as its cause; `UNSUPPORTED` if the runtime
 * ignores an option of the configuration.
 */
export async function proveTlsConfig(config: TlsConfig): Promise<void> {
  if (proved.has(config)) return;
  try {
    const [first] = config.certifiedKeys as [CertifiedKey];
    await proveByHandshake(config, first);
    provedKeys.add(first);
    await requireOptionsHonored(() => proofServer(config, first), config);
    await proveOthers(config);
  } catch (cause) {
    if (cause instanceof TlsReloadError) throw cause;
    throw unusable(undefined, "no handshake succeeds with it", cause);
  }
  proved.add(config);
}

async function proveOthers(config: TlsConfig): Promise<void> {
  const kinds = new Set([proofKindOf(config.leaf)]);
  const turns = new Turns();
  const isKnown = (certifiedKey: CertifiedKey) => provedKeys.has(certifiedKey);
  const { certifiedKeys } = config;
  // The settings may be new to a kind of which every key is known.
  for (const certifiedKey of [...certifiedKeys.filter((each) => !isKnown(each)), ...certifiedKeys.filter(isKnown)]) {
    const kind = proofKindOf(certifiedKey.leaf);
    const isNewKind = !kinds.has(kind);
    if (!isNewKind && isKnown(certifiedKey)) continue;
    await turns.next();
    try {
      // Deno serves with P-521 keys, but `node:crypto` cannot sign with them.
      if (isNewKind || kind === "secp521r1") await proveByHandshake(config, certifiedKey);
      else proveBySignature(certifiedKey);
    } catch (cause) {
      throw unusable(certifiedKey.path, `no handshake succeeds with ${certifiedKey.leaf.subject}`, cause);
    }
    kinds.add(kind);
    provedKeys.add(certifiedKey);
  }
}

/** Runtimes refuse RSA keys that are too short, so each size is a kind of its own. */
function proofKindOf(leaf: Certificate): string {
  const kind = keyKindOf(leaf);
  return kind === "rsa" ? `rsa ${leaf.x509.publicKey.asymmetricKeyDetails?.modulusLength}` : kind;
}

async function proveByHandshake(config: TlsConfig, certifiedKey: CertifiedKey): Promise<void> {
  const served = await leafServedInMemory(config, certifiedKey);
  if (served !== certifiedKey.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
}

function proveBySignature(certifiedKey: CertifiedKey): void {
  const { publicKey } = certifiedKey.leaf.x509;
  const hash = publicKey.asymmetricKeyType === "ed25519" ? undefined : "sha256";
  const signature = sign(hash, SAMPLE, keyPemOf(certifiedKey));
  if (!verify(hash, SAMPLE, publicKey, signature)) {
    throw new Error("the certificate does not verify what the key signs");
  }
}

function unusable(path: string | undefined, reason: string, cause: unknown): TlsReloadError {
  return new TlsReloadError("CONFIG_UNUSABLE", `Cannot use TLS config${location({ path })}: ${reason}`, {
    cause,
    path,
  });
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
