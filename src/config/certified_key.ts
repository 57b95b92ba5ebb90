import { createHash, type KeyObject } from "node:crypto";
import { location, TlsReloadError } from "../errors.ts";
import { WeakCache } from "../weak_cache.ts";
import { readPublicKey } from "../x509/algorithms.ts";
import { type Certificate, derOf, parseCertificates } from "../x509/certificate.ts";
import type { CertificateFacts } from "../x509/certificate_fields.ts";
import { CertificateStructure } from "../x509/certificate_structure.ts";
import { inputContent, pathOf, type PemFile, type PemInput } from "../x509/pem.ts";
import { withPublicKey } from "../x509/pkcs8.ts";
import { decryptKeyFile, encodeKey, readPrivateKey } from "../x509/private_key.ts";

/** The parts of a {@linkcode CertifiedKey}: PEM in memory. */
export interface CertifiedKeyInit {
  /** The certificate chain, the server's own certificate first (RFC 8446 section 4.4.2). */
  readonly cert: PemInput;
  /** The private key of the first certificate. */
  readonly key: PemInput;
  /**
   * The passphrase of an encrypted private key. Decryption blocks the event loop: usually for less than a second, at
   * the limits for up to ten seconds. {@linkcode loadTlsConfig} decrypts in the background.
   */
  readonly passphrase?: string | undefined;
}

/** The names of the parts of a {@linkcode CertifiedKey}. */
export const CERTIFIED_KEY_PARTS: readonly (keyof CertifiedKeyInit)[] = ["cert", "key", "passphrase"];

/** The public facts of a certified key, as {@linkcode CertifiedKey.toJSON} returns them. */
export interface CertifiedKeyFacts {
  /** The certificates that are sent, the server's own first. */
  readonly chain: readonly CertificateFacts[];
}

/** The private key of a certified key as plain PKCS#8 PEM. */
export let keyPemOf: (certifiedKey: CertifiedKey) => string;
/** SHA-256 of chain and key, to compare two certified keys. Never shown. */
export let certifiedKeyDigestOf: (certifiedKey: CertifiedKey) => string;
/** Whether it has been proved that a key signs for its certificate. */
export let isProved: (certifiedKey: CertifiedKey) => boolean;
/** Notes that a key signs for its certificate. */
export let markProved: (certifiedKey: CertifiedKey) => void;

/**
 * A certificate chain and its private key.
 *
 * Invariant: the chain holds at least one certificate, and the key belongs to the first one. Immutable. Users can
 * neither read nor print the key.
 */
export class CertifiedKey {
  /** The certificates that are sent, the server's own first. */
  readonly chain: readonly Certificate[];
  /** The file that the chain was read from; `undefined` if it was not read from a file. */
  readonly path: string | undefined;
  readonly #keyPem: string;
  /** Made at once, because those of thousands of certified keys in one turn block the event loop. */
  readonly #digest: string;
  #isProved: boolean;

  static {
    keyPemOf = (certifiedKey) => certifiedKey.#keyPem;
    certifiedKeyDigestOf = (certifiedKey) => certifiedKey.#digest;
    isProved = (certifiedKey) => certifiedKey.#isProved;
    markProved = (certifiedKey) => void (certifiedKey.#isProved = true);
  }

  /**
   * Parses a chain and its key.
   *
   * @param init Chain and key in PEM, and the passphrase of the key.
   * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE`, `CERTIFICATE_INVALID`, `NO_PRIVATE_KEY`,
   * `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`, `KEY_ENCRYPTED`, `PASSPHRASE_WRONG`, or `KEY_MISMATCH`.
   */
  constructor({ cert, key, passphrase }: CertifiedKeyInit) {
    this.path = pathOf(cert);
    // A copy takes less memory, because it has no room to grow.
    this.chain = Object.freeze([...parseCertificates(cert)]);
    const { keyObject, der } = readPrivateKey(key, passphrase);
    requireMatch(this.chain, keyObject, this.path, pathOf(key));
    const { publicKey } = new CertificateStructure(derOf(this.leaf));
    this.#keyPem = encodeKey(withPublicKey(der, publicKey));
    this.#digest = sha256([...this.chain.map(({ pem }) => pem), this.#keyPem]);
    // From an EC or Ed25519 key the runtime derives the public key that was compared. An RSA key only claims it.
    this.#isProved = readPublicKey({ publicKey }).kind !== "rsa";
    Object.freeze(this);
  }

  /** The server's own certificate, the first of the chain. It holds the names that the key serves. */
  get leaf(): Certificate {
    return this.chain[0]!;
  }

  /** The public facts as a plain object. */
  toJSON(): CertifiedKeyFacts {
    return { chain: this.chain.map((certificate) => certificate.toJSON()) };
  }
}

/** The chain of a certified key as one PEM. */
export function chainPemOf({ chain }: CertifiedKey): string {
  return chain.map(({ pem }) => pem).join("");
}

/** All certified keys that the process still uses, by the digest of their input. */
const known = new WeakCache<CertifiedKey>();

/**
 * Parses a chain and its key. Returns the earlier certified key if the same input was parsed before and the result is
 * still in use, so a reload parses only files that have changed.
 *
 * @throws {TlsReloadError} Every error of {@linkcode CertifiedKey}.
 */
export function certifiedKeyOf(init: CertifiedKeyInit): CertifiedKey {
  const digest = inputDigestOf(init);
  return known.get(digest) ?? known.set(digest, new CertifiedKey(init));
}

/**
 * Like {@linkcode certifiedKeyOf}, for a file with an encrypted key. Decrypts it without blocking the event loop.
 *
 * @throws {TlsReloadError} Every error of {@linkcode CertifiedKey}.
 */
export async function decryptedCertifiedKeyOf(
  init: CertifiedKeyInit & { readonly key: PemFile; readonly passphrase: string },
): Promise<CertifiedKey> {
  const { cert, key, passphrase } = init;
  const digest = inputDigestOf(init);
  return known.get(digest) ??
    known.set(digest, new CertifiedKey({ cert, key: await decryptKeyFile(key, passphrase) }));
}

function inputDigestOf({ cert, key, passphrase }: CertifiedKeyInit): string {
  return sha256([pathOf(cert) ?? "", inputContent(cert), inputContent(key), passphrase ?? ""]);
}

/** Hashes the length before each part, so that two different lists of parts never have the same digest. */
function sha256(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("base64");
}

function requireMatch(
  chain: readonly Certificate[],
  privateKey: KeyObject,
  path: string | undefined,
  keyPath: string | undefined,
): void {
  const index = chain.findIndex(({ x509 }) => x509.checkPrivateKey(privateKey));
  if (index === 0) return;
  const name = `the private key${location({ path: keyPath })}`;
  const reason = index < 0
    ? `${name} matches no certificate of the chain`
    : `${name} matches certificate ${index + 1}, but the leaf must come first`;
  throw new TlsReloadError("KEY_MISMATCH", `Cannot use TLS config${location({ path })}: ${reason}`, { path });
}
