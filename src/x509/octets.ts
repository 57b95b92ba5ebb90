import { Buffer } from "node:buffer";
import { hash } from "node:crypto";

/** Bytes in upper-case hexadecimal. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").toUpperCase();
}

/** Bytes as one unsigned number, the most significant byte first (OS2IP of RFC 8017 section 4.2). */
export function unsignedOf(bytes: Uint8Array): bigint {
  return BigInt(`0x0${Buffer.from(bytes).toString("hex")}`);
}

/** The length in bits of bytes as one unsigned number, without leading zeros. */
export function bitLengthOf(bytes: Uint8Array): number {
  const start = bytes.findIndex((byte) => byte !== 0);
  return start < 0 ? 0 : 8 * (bytes.length - start) - Math.clz32(bytes[start]!) + 24;
}

/** Whether two runs of bytes are the same. Not for secrets: the time that it takes depends on the bytes. */
export function areSameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

/** SHA-256 in upper-case hexadecimal with colons, the form of `getPeerCertificate().fingerprint256`. */
export function fingerprintOf(der: Uint8Array): string {
  return hash("sha256", der).toUpperCase().replace(/..(?=.)/g, "$&:");
}
