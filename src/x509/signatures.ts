import { Buffer } from "node:buffer";
import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import type { SignatureAlgorithm } from "./algorithms.ts";
import { bitString, type CertificateStructure } from "./certificate_structure.ts";
import { readChildren } from "./der.ts";
import { areSameBytes, fingerprintOf } from "./octets.ts";
import { verifyP521 } from "./p521.ts";
import { fitsKey, type PathCertificate } from "./path_certificate.ts";

/** The maximum number of verified signatures that are kept, at about 200 bytes each. */
const MAX_REMEMBERED = 10_000;
/** The maximum number of parsed keys that are kept. Authorities have few keys. */
const MAX_KEYS = 100;

/** The digests that a signature may use. */
const HASHES = ["sha256", "sha384", "sha512"];

/** The pairs of certificate and issuer whose signature was verified, by their fingerprints, the latest last. */
const verified = new Set<string>();
/** Parsed keys of issuers by their digest, the latest last. */
const keys = new Map<string, KeyObject>();

/**
 * The reason why the key of an authority cannot sign: it is too short, or of a kind that not all runtimes support;
 * `undefined` if it can.
 */
export function weaknessOf({ publicKey: { kind, bits = 0, curve } }: PathCertificate): string | undefined {
  if (kind === "rsa" && bits >= 2048) return undefined;
  if (kind === "rsa") return `its RSA key is too short: ${bits} bits`;
  if (kind === "ec" && (curve === "P-256" || curve === "P-384" || curve === "P-521")) return undefined;
  return kind === "ed25519" ? undefined : `its key is of a kind that is not supported: ${curve ?? kind}`;
}

/** Whether the signature was verified before and is remembered. Keeps it among the latest, which are forgotten last. */
export function isVerified(certificate: PathCertificate, issuer: PathCertificate): boolean {
  const link = linkOf(certificate, issuer);
  if (!verified.delete(link)) return false;
  verified.add(link);
  return true;
}

/** Whether a signature is made in a way that can be verified here: with a digest that is not forgeable. */
export function isVerifiable(
  { signatureAlgorithm: { scheme, hash } }: Pick<SignedData, "signatureAlgorithm">,
): boolean {
  return scheme === "ed25519" || HASHES.includes(hash ?? "");
}

/**
 * The reason why a signature of a certificate is not made by the key of an issuer; `undefined` if it is. Does not check
 * the right to issue.
 */
export function signatureFault(certificate: PathCertificate, issuer: PathCertificate): string | undefined {
  if (isVerified(certificate, issuer)) return undefined;
  const fault = signedDataFault(certificate, issuer);
  if (fault) return fault;
  verified.add(linkOf(certificate, issuer));
  if (verified.size > MAX_REMEMBERED) verified.delete(verified.keys().next().value!);
  return undefined;
}

/** Data with the signature of an authority: a certificate or a revocation list. */
export interface SignedData {
  /** The signed bytes, the signature, and the two copies of its algorithm. */
  readonly structure: Pick<CertificateStructure, "signed" | "signedAlgorithm" | "algorithm" | "signature">;
  /** The algorithm of the signature. */
  readonly signatureAlgorithm: SignatureAlgorithm;
}

/** The reason why a signature is not made by the key of an issuer; `undefined` if it is. Does not keep the outcome. */
export function signedDataFault(data: SignedData, issuer: PathCertificate): string | undefined {
  const { structure, signatureAlgorithm } = data;
  if (!namesOneAlgorithm(structure)) return "it names two signature algorithms";
  if (!isVerifiable(data)) return `it is signed with ${signatureAlgorithm.hash ?? signatureAlgorithm.id}`;
  if (!fitsKey(signatureAlgorithm, issuer.publicKey)) return "it is signed with another kind of key";
  return verifies(data, issuer) ? undefined : "its signature is not the issuer's";
}

/** Whether the signed bytes name the same algorithm as the signature (RFC 5280 section 4.1.1.2). */
export function namesOneAlgorithm({ algorithm, signedAlgorithm }: SignedData["structure"]): boolean {
  return areSameBytes(algorithm.encoded, signedAlgorithm.encoded);
}

function verifies({ structure, signatureAlgorithm }: SignedData, issuer: PathCertificate): boolean {
  const { scheme, hash, saltLength } = signatureAlgorithm;
  try {
    const { signed, signature } = structure;
    const key = keyOf(issuer);
    const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, ...(saltLength !== undefined && { saltLength }) };
    if (verify(hash ?? null, signed, scheme === "rsa-pss" ? pss : key, signature)) return true;
    return isMisjudged(issuer, hash) && verifyP521(signed, signature, pointOf(issuer), hash!);
  } catch {
    return false;
  }
}

/** Whether the digest is too short for `crypto.verify()` of Deno, see {@linkcode verifyP521}. */
function isMisjudged({ publicKey: { curve } }: PathCertificate, hash: string | undefined): boolean {
  return curve === "P-521" && hash === "sha256";
}

function pointOf({ structure }: PathCertificate): Uint8Array {
  return bitString(readChildren(structure.publicKey)[1]);
}

function keyOf({ structure: { publicKey } }: PathCertificate): KeyObject {
  const id = fingerprintOf(publicKey.encoded);
  let key = keys.get(id);
  if (!key) {
    key = createPublicKey({ key: Buffer.from(publicKey.encoded), format: "der", type: "spki" });
    keys.set(id, key);
    if (keys.size > MAX_KEYS) keys.delete(keys.keys().next().value!);
  }
  return key;
}

function linkOf(certificate: PathCertificate, issuer: PathCertificate): string {
  return `${certificate.fingerprint256} ${issuer.fingerprint256}`;
}
