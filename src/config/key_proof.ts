import { Buffer } from "node:buffer";
import { sign, verify } from "node:crypto";
import { location, TlsReloadError } from "../errors.ts";
import { createKeyObject } from "../x509/private_key.ts";
import { type CertifiedKey, isProved, keyPemOf, markProved } from "./certified_key.ts";

/** The bytes that a key signs in its proof. */
const SAMPLE = Buffer.from("proof");

/**
 * Proves a certified key by its signature, unless it has been proved. Takes less time than to hand the work to another
 * thread.
 *
 * @throws {TlsReloadError} `CONFIG_UNUSABLE`, with the reason as its cause.
 */
export function proveBySignature(certifiedKey: CertifiedKey): void {
  if (isProved(certifiedKey)) return;
  const { publicKey } = certifiedKey.leaf.x509;
  try {
    const signature = sign("sha256", SAMPLE, createKeyObject(keyPemOf(certifiedKey)));
    if (!verify("sha256", SAMPLE, publicKey, signature)) {
      throw new Error("the certificate does not verify the signature of the key");
    }
  } catch (cause) {
    throw unusable(certifiedKey, cause);
  }
  markProved(certifiedKey);
}

/** The error of a certified key whose proof has failed. */
export function unusable({ path, leaf }: CertifiedKey, cause: unknown): TlsReloadError {
  const message = `Cannot use TLS config${location({ path })}: no handshake succeeds with ${leaf.subject}`;
  return new TlsReloadError("CONFIG_UNUSABLE", message, { cause, path });
}
