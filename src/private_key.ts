import { createPrivateKey, type KeyObject } from "node:crypto";
import { location, TlsReloadError, type TlsReloadErrorCode } from "./errors.ts";
import { encodePem, parsePem, pathOf, type PemInput, type PemSection } from "./pem.ts";

/** What TLS servers sign with on all three runtimes (RFC 8446 section 4.2.3). */
const KEY_TYPES = new Set<string | undefined>(["rsa", "ec", "ed25519"]);
const READABLE = new Set(["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"]);
const CONVERT = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.pem";

/**
 * Reads the one private key of a PEM text: PKCS#8, PKCS#1 or SEC1, plain or encrypted. Other sections are passed over.
 *
 * @param pem The text, its bytes, or a file that has been read.
 * @param passphrase What an encrypted key is decrypted with.
 * @returns The key.
 * @throws {TlsReloadError} `PEM_INVALID`, `NO_PRIVATE_KEY`, `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`,
 * `KEY_ENCRYPTED`, or `PASSPHRASE_WRONG`.
 */
export function parsePrivateKey(pem: PemInput, passphrase?: string): KeyObject {
  const path = pathOf(pem);
  const sections = parsePem(pem).filter(({ label }) => label.endsWith("PRIVATE KEY"));
  const [section, second] = sections;
  if (!section) {
    throw new TlsReloadError("NO_PRIVATE_KEY", `Cannot find a private key${location({ path })}: it holds none`, {
      path,
    });
  }
  const where = { path, line: section.line };
  const refuse = (code: TlsReloadErrorCode, reason: string, cause?: unknown) =>
    new TlsReloadError(code, `Cannot read private key${location(where)}: ${reason}`, { ...where, cause });

  if (second) throw refuse("MULTIPLE_PRIVATE_KEYS", `another one stands at line ${second.line}`);
  if (!READABLE.has(section.label)) throw refuse("KEY_UNSUPPORTED", `convert "${section.label}" with: ${CONVERT}`);
  const encrypted = isEncrypted(section);
  if (encrypted && passphrase === undefined) {
    throw refuse("KEY_ENCRYPTED", "it is encrypted and no passphrase was given");
  }

  let key: KeyObject;
  try {
    key = createPrivateKey({ key: encodePem(section), ...(encrypted && { passphrase }) });
  } catch (cause) {
    if (encrypted && !/unsupported/i.test(String(cause))) {
      throw refuse("PASSPHRASE_WRONG", "the passphrase does not decrypt it", cause);
    }
    throw refuse("KEY_UNSUPPORTED", `this runtime cannot read it; convert it with: ${CONVERT}`, cause);
  }
  const type = key.asymmetricKeyType;
  if (!KEY_TYPES.has(type)) throw refuse("KEY_UNSUPPORTED", `only RSA, EC and Ed25519 keys serve TLS: ${type}`);
  return key;
}

/** RFC 5958 section 3 for PKCS#8, RFC 1421 section 4.6.1.1 for the older forms. */
function isEncrypted({ label, headers }: PemSection): boolean {
  return label === "ENCRYPTED PRIVATE KEY" || headers.some((header) => /^Proc-Type:.*ENCRYPTED/.test(header));
}
