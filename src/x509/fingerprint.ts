import { hash } from "node:crypto";

/** SHA-256 in upper-case hexadecimal with colons, the form of `getPeerCertificate().fingerprint256`. */
export function fingerprintOf(der: Uint8Array): string {
  return hash("sha256", der).toUpperCase().replace(/..(?=.)/g, "$&:");
}
