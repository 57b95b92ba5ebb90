import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject } from "node:crypto";
import { DerTag, encodeDer, readChildren, readDer, readInteger } from "./der.ts";
import { decryptKey } from "./encrypted_key.ts";
import { location, TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { encodePem, labelsOf, parsePem, pathOf, type PemInput, type PemSection, quoteLabel } from "./pem.ts";

/** What TLS servers sign with on all three runtimes (RFC 8446 section 4.2.3): key types, and curves of EC keys. */
const SERVING = new Set<string | undefined>(["rsa", "ed25519", "prime256v1", "secp384r1", "secp521r1"]);
const SERVING_NAMES = "only RSA, P-256, P-384, P-521 and Ed25519 keys serve TLS on every runtime";
const READABLE = new Set(["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"]);

/**
 * Reads the one private key of a PEM text: PKCS#8, PKCS#1 or SEC1, plain or encrypted. Other sections are passed over.
 *
 * The same keys on every runtime: RSA, P-256, P-384, P-521 and Ed25519, with their public key beside them or not;
 * encrypted by PBES2 (RFC 8018) with PBKDF2 or scrypt, or with a header `Proc-Type` (RFC 1421), in each case with
 * AES-128 or AES-256 in CBC, or triple DES. RSA keys of three primes are read by Node alone, and EC keys that spell
 * their curve out instead of naming it by Node and Bun.
 *
 * @param pem The text, its bytes, or a file that has been read.
 * @param passphrase What an encrypted key is decrypted with.
 * @returns The key.
 * @throws {TlsReloadError} `PEM_INVALID`, `NO_PRIVATE_KEY`, `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`,
 * `KEY_ENCRYPTED`, or `PASSPHRASE_WRONG`.
 */
export function parsePrivateKey(pem: PemInput, passphrase?: string): KeyObject {
  const path = pathOf(pem);
  const sections = parsePem(pem);
  const [section, second] = sections.filter(({ label }) => label.endsWith("PRIVATE KEY"));
  if (!section) {
    const message = `Cannot find a private key${location({ path })}: it holds ${labelsOf(sections)}`;
    throw new TlsReloadError("NO_PRIVATE_KEY", message, { path });
  }
  const where = { path, line: section.line };
  const refuse = (code: TlsReloadErrorCode, reason: string, cause?: unknown) =>
    new TlsReloadError(code, `Cannot read private key${location(where)}: ${reason}`, { ...where, cause });

  if (second) throw refuse("MULTIPLE_PRIVATE_KEYS", `another one stands at line ${second.line}`);
  if (section.label === "OPENSSH PRIVATE KEY") {
    throw refuse("KEY_UNSUPPORTED", "it is in the format of OpenSSH; convert it with: ssh-keygen -p -m PKCS8 -f FILE");
  }
  if (!READABLE.has(section.label)) throw refuse("KEY_UNSUPPORTED", `${SERVING_NAMES}: ${quoteLabel(section.label)}`);

  let plain: PemSection | undefined = section;
  if (isEncrypted(section)) {
    if (passphrase === undefined) throw refuse("KEY_ENCRYPTED", "it is encrypted and no passphrase was given");
    try {
      plain = decryptKey(section, passphrase);
    } catch (cause) {
      const command = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.pem";
      throw refuse("KEY_UNSUPPORTED", `it is encrypted in a way that is not known; convert it with: ${command}`, cause);
    }
    if (!plain) throw refuse("PASSPHRASE_WRONG", "the passphrase does not decrypt it");
  }
  let key: KeyObject;
  try {
    key = readKey(encodePem(withoutPublicKey(plain)));
  } catch (cause) {
    throw refuse("KEY_UNSUPPORTED", `it is damaged, or this runtime does not know its kind; ${SERVING_NAMES}`, cause);
  }
  const kind = key.asymmetricKeyType === "ec" ? key.asymmetricKeyDetails?.namedCurve : key.asymmetricKeyType;
  if (!SERVING.has(kind)) throw refuse("KEY_UNSUPPORTED", `${SERVING_NAMES}: ${kind}`);
  return key;
}

/** Node 22 to 26 blames the first key that is read after a failed handshake for the error of that; so it is read again. */
function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    return createPrivateKey(pem);
  }
}

/** Version 2 of PKCS#8 (RFC 5958 section 2) adds a public key, as Rust tools do: Bun and Deno read version 1. */
function withoutPublicKey(section: PemSection): PemSection {
  if (section.label !== "PRIVATE KEY") return section;
  try {
    const [version, algorithm, key] = readChildren(readDer(section.der)[0]);
    if (!algorithm || !key || readInteger(version) !== 1n) return section;
    const content = Buffer.concat([encodeDer(DerTag.integer, Buffer.of(0)), algorithm.encoded, key.encoded]);
    return { ...section, der: encodeDer(DerTag.sequence, content) };
  } catch {
    // What the runtime makes of it is not ours to say.
    return section;
  }
}

/** RFC 5958 section 3 for PKCS#8, RFC 1421 section 4.6.1.1 for the older forms. */
function isEncrypted({ label, headers }: PemSection): boolean {
  return label === "ENCRYPTED PRIVATE KEY" || headers.some((header) => /^Proc-Type:.*ENCRYPTED/.test(header));
}
