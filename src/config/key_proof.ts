import { Buffer } from "node:buffer";
import { sign, verify } from "node:crypto";
import { location, TlsReloadError } from "../errors.ts";
import { type CertifiedKey, privateKeyOf } from "./certified_key.ts";
import { keyKindOf } from "./key_kind.ts";

/** Certified keys that have been proved. They never change, and configurations share them. */
const provedKeys = new WeakSet<CertifiedKey>();
/** The bytes that a key signs in its proof. */
const SAMPLE = Buffer.from("proof");

/** Whether a certified key has been proved, by its signature or by a handshake. */
export function isProved(certifiedKey: CertifiedKey): boolean {
  return provedKeys.has(certifiedKey);
}

/** Notes that a certified key has been proved. */
export function markProved(certifiedKey: CertifiedKey): void {
  provedKeys.add(certifiedKey);
}

/** Whether the runtime can prove a key by its signature. Deno serves with P-521 keys, but cannot sign with them. */
export function canSign({ leaf }: CertifiedKey): boolean {
  return keyKindOf(leaf) !== "P-521";
}

/**
 * Proves a certified key by its signature, unless it has been proved. Takes less time than to hand the work to another
 * thread.
 *
 * @param certifiedKey The certified key.
 * @throws {TlsReloadError} `CONFIG_UNUSABLE`, with the reason as its cause.
 */
export function proveBySignature(certifiedKey: CertifiedKey): void {
  if (isProved(certifiedKey)) return;
  try {
    signSample(certifiedKey);
  } catch (cause) {
    throw unusable(certifiedKey, cause);
  }
  markProved(certifiedKey);
}

/** Lets a key sign a sample that its certificate must verify. */
export function signSample(certifiedKey: CertifiedKey): void {
  const { publicKey } = certifiedKey.leaf.x509;
  const hash = keyKindOf(certifiedKey.leaf) === "ed25519" ? undefined : "sha256";
  const signature = sign(hash, SAMPLE, privateKeyOf(certifiedKey));
  if (!verify(hash, SAMPLE, publicKey, signature)) {
    throw new Error("the certificate does not verify the signature of the key");
  }
}

/** The error of a certified key whose proof has failed. */
export function unusable({ path, leaf }: CertifiedKey, cause: unknown): TlsReloadError {
  const message = `Cannot use TLS config${location({ path })}: no handshake succeeds with ${leaf.subject}`;
  return new TlsReloadError("CONFIG_UNUSABLE", message, { cause, path });
}
