/**
 * Private keys pass through four steps, which this file puts in order:
 *
 * 1. find: `findKey()` here takes the only key section of a PEM or DER input;
 * 2. decrypt: `encrypted_key.ts`, only if the section is encrypted;
 * 3. normalize: `normalizeKey()` of `pkcs8.ts` checks the key and writes plain PKCS#8 that every runtime reads;
 * 4. create: `createKeyObject()` here makes the object of the runtime.
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject } from "node:crypto";
import { decryptKey, decryptKeyInBackground } from "./encrypted_key.ts";
import { requireType } from "../arguments.ts";
import { location, TlsReloadError, type TlsReloadErrorCode } from "../errors.ts";
import { isEncryptedPkcs8, normalizeKey, UnusableKey } from "./pkcs8.ts";
import {
  contentOf,
  encodePem,
  pathOf,
  type PemFile,
  type PemInput,
  type PemSection,
  placeOf,
  readSections,
} from "./pem.ts";
import { quoteLabel } from "./pem_scanner.ts";

const READABLE = new Set([
  "PRIVATE KEY",
  "ENCRYPTED PRIVATE KEY",
  "RSA PRIVATE KEY",
  "EC PRIVATE KEY",
  "DSA PRIVATE KEY",
  "OPENSSH PRIVATE KEY",
  "ANY PRIVATE KEY",
]);
const OPENSSH_MAGIC = "openssh-key-v1\0";
/** `-provider legacy` supports old encryptions, which OpenSSL 3 does not read by default. */
const CONVERT = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.pem -provider legacy -provider default";

/** The key section of an input, and a function that makes errors about it. */
interface KeySection {
  readonly section: PemSection;
  readonly refuse: (code: TlsReloadErrorCode, reason: string, cause?: unknown) => TlsReloadError;
}

/**
 * Reads the only private key of a file: PKCS#8, PKCS#1 or SEC1, plain or encrypted, in PEM or DER. The content decides
 * about the form of the key, not the label. Sections of other kinds are ignored.
 *
 * Reads the same keys on every runtime: RSA of 1024 to 16384 bits, P-256, P-384, P-521 and Ed25519, with or without the
 * public key; plain, encrypted by PBES2 (RFC 8018) with PBKDF2 or scrypt, or encrypted by a `Proc-Type` header (RFC
 * 1421), each with AES-128 or AES-256 in CBC, or triple DES. Refuses an EC scalar that is invalid for its curve,
 * because some runtimes crash on it.
 *
 * Decryption blocks the event loop while it derives the key: usually for some milliseconds, and for up to ten seconds
 * at the limits of 10,000,000 iterations of PBKDF2 or a scrypt cost (N r p) of 4,194,304. {@linkcode loadTlsConfig}
 * derives the key in the background instead.
 *
 * @param input PEM as text or bytes, DER, or a file that has been read.
 * @param passphrase The passphrase of an encrypted key.
 * @returns The key.
 * @throws {TlsReloadError} `PEM_INVALID`, `NO_PRIVATE_KEY`, `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`,
 * `KEY_ENCRYPTED`, or `PASSPHRASE_WRONG`.
 */
export function parsePrivateKey(input: PemInput, passphrase?: string): KeyObject {
  if (passphrase !== undefined) requireType("parsePrivateKey", "passphrase", passphrase, "a string");
  return readPrivateKey(input, passphrase).keyObject;
}

/** A private key in two forms. */
interface PrivateKey {
  /** The object of the runtime. */
  readonly keyObject: KeyObject;
  /** The form of {@linkcode normalizeKey}. */
  readonly der: Uint8Array;
}

/** Like {@linkcode parsePrivateKey}, with the key in DER as well. */
export function readPrivateKey(input: PemInput, passphrase?: string): PrivateKey {
  const found = findKey(input);
  return readKey(found, isEncrypted(found.section) ? decrypt(found, passphrase) : found.section.der);
}

/**
 * Decrypts the private key of a file without blocking the event loop. Returns a file with the plain key, at the same
 * path and line; the same file if its key is not encrypted.
 *
 * @throws {TlsReloadError} The errors of {@linkcode parsePrivateKey}.
 */
export async function decryptKeyFile(file: PemFile, passphrase: string): Promise<PemFile> {
  const found = findKey(file);
  if (!isEncrypted(found.section)) return file;
  const der = await decryptInBackground(found, passphrase);
  const text = "\n".repeat(Math.max(0, found.section.line - 1)) + encodeKey(der);
  return { path: file.path, bytes: Buffer.from(text) };
}

function findKey(input: PemInput): KeySection {
  const path = pathOf(input);
  const sections = readSections(input);
  const [section, second] = sections.filter(({ label }) => label.endsWith("PRIVATE KEY"));
  if (!section) {
    const message = `Cannot find a private key${location({ path })}: it holds ${contentOf(input, sections)}`;
    throw new TlsReloadError("NO_PRIVATE_KEY", message, { path });
  }
  const where = placeOf(input, section);
  const refuse = (code: TlsReloadErrorCode, reason: string, cause?: unknown) =>
    new TlsReloadError(code, `Cannot read private key${location(where)}: ${reason}`, { ...where, cause });

  if (second) throw refuse("MULTIPLE_PRIVATE_KEYS", `another one begins at line ${second.line}`);
  if (Buffer.from(section.der.subarray(0, OPENSSH_MAGIC.length)).toString("latin1") === OPENSSH_MAGIC) {
    throw refuse("KEY_UNSUPPORTED", "it is in the format of OpenSSH; convert it with: ssh-keygen -p -m PKCS8 -f FILE");
  }
  if (!READABLE.has(section.label)) {
    throw refuse("KEY_UNSUPPORTED", `a key of this label is not known: ${quoteLabel(section.label)}`);
  }
  return { section, refuse };
}

/** RFC 5958 section 3 for PKCS#8, RFC 1421 section 4.6.1.1 for the older forms. */
function isEncrypted({ der, headers }: PemSection): boolean {
  return isEncryptedPkcs8(der) || headers.some((header) => /^Proc-Type:.*ENCRYPTED/.test(header));
}

function decrypt(found: KeySection, passphrase: string | undefined): Uint8Array {
  if (passphrase === undefined) throw found.refuse("KEY_ENCRYPTED", "it is encrypted and no passphrase was given");
  try {
    return requireDecrypted(found, decryptKey(found.section, passphrase));
  } catch (cause) {
    throw undecryptable(found, cause);
  }
}

async function decryptInBackground(found: KeySection, passphrase: string): Promise<Uint8Array> {
  try {
    return requireDecrypted(found, await decryptKeyInBackground(found.section, passphrase));
  } catch (cause) {
    throw undecryptable(found, cause);
  }
}

function requireDecrypted({ refuse }: KeySection, plain: Uint8Array | undefined): Uint8Array {
  if (!plain) throw refuse("PASSPHRASE_WRONG", "the passphrase does not decrypt it");
  return plain;
}

function undecryptable({ refuse }: KeySection, cause: unknown): TlsReloadError {
  if (cause instanceof TlsReloadError) return cause;
  return refuse("KEY_UNSUPPORTED", `its encryption is not supported; convert it with: ${CONVERT}`, cause);
}

function readKey({ refuse }: KeySection, plain: Uint8Array): PrivateKey {
  try {
    const der = normalizeKey(plain);
    return { keyObject: createKeyObject(encodeKey(der)), der };
  } catch (cause) {
    if (cause instanceof UnusableKey) throw refuse("KEY_UNSUPPORTED", cause.message);
    throw refuse("KEY_UNSUPPORTED", "it is damaged, or not a private key", cause);
  }
}

/** Writes a key in PKCS#8 as PEM. */
export function encodeKey(der: Uint8Array): string {
  return encodePem({ label: "PRIVATE KEY", der });
}

/**
 * Reads a key in PKCS#8 as PEM. Retries once, because Node 22 to 26 leaves the error of a failed handshake in the error
 * queue of OpenSSL, and throws it when the next key is read.
 */
export function createKeyObject(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    return createPrivateKey(pem);
  }
}
