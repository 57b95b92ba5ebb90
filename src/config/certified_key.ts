import type { KeyObject } from "node:crypto";
import { location, TlsReloadError } from "../errors.ts";
import { type Certificate, parseCertificates } from "../x509/certificate.ts";
import { encodePem, pathOf, type PemInput } from "../x509/pem.ts";
import { parsePrivateKey } from "../x509/private_key.ts";

/** The private key of a certified key as plain PKCS#8 PEM. */
export let keyPemOf: (certifiedKey: CertifiedKey) => string;

/**
 * A certificate chain and its private key.
 *
 * Invariant: the chain holds at least one certificate, and the key belongs to the first one. Immutable; the key can
 * neither be read nor printed.
 */
export class CertifiedKey {
  /** The certificates that are sent, the server's own first. */
  readonly chain: readonly Certificate[];
  readonly #keyPem: string;

  static {
    keyPemOf = (certifiedKey) => certifiedKey.#keyPem;
  }

  /**
   * Parses a chain and its key.
   *
   * @param cert The chain in PEM.
   * @param key The private key in PEM.
   * @param passphrase Decrypts the key.
   * @throws {TlsReloadError} `PEM_INVALID`, `NO_CERTIFICATE`, `CERTIFICATE_INVALID`, `NO_PRIVATE_KEY`,
   * `MULTIPLE_PRIVATE_KEYS`, `KEY_UNSUPPORTED`, `KEY_ENCRYPTED`, `PASSPHRASE_WRONG`, or `KEY_MISMATCH`.
   */
  constructor(cert: PemInput, key: PemInput, passphrase?: string) {
    this.chain = Object.freeze(parseCertificates(cert));
    const privateKey = parsePrivateKey(key, passphrase);
    requireMatch(this.chain, privateKey, pathOf(cert), pathOf(key));
    this.#keyPem = encodePem({ label: "PRIVATE KEY", der: privateKey.export({ type: "pkcs8", format: "der" }) });
    Object.freeze(this);
  }
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
