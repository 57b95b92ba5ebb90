import { Buffer } from "node:buffer";
import { constants, createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import type { SignatureAlgorithm } from "./algorithms.ts";
import { bitString, type CertificateStructure } from "./certificate_structure.ts";
import { readChildren } from "./der.ts";
import { verifyP521 } from "./p521.ts";
import { fitsKey, type PathCertificate } from "./path_certificate.ts";

/** How many links are remembered, at about 200 bytes each. */
const MAX_REMEMBERED = 10_000;
/** How many keys are kept ready: authorities have few. */
const MAX_KEYS = 100;

/** The digests that a signature may be made with. */
const HASHES = ["sha256", "sha384", "sha512"];

/** The links whose signature has been verified, by the digests of certificate and key; the latest stand last. */
const verified = new Set<string>();
/** The keys of issuers, by their digest; the latest stand last. */
const keys = new Map<string, KeyObject>();

/**
 * Finds why a certificate may not sign others by the kind of its key: one that is too short, or that not every runtime
 * can verify with.
 *
 * @param issuer The certificate of an authority.
 * @returns The reason, or `undefined` if there is none.
 */
export function weaknessOf({ publicKey: { kind, bits = 0, curve } }: PathCertificate): string | undefined {
  if (kind === "rsa" && bits >= 2048) return undefined;
  if (kind === "rsa") return `its RSA key is too short: ${bits} bits`;
  if (kind === "ec" && (curve === "P-256" || curve === "P-384" || curve === "P-521")) return undefined;
  return kind === "ed25519" ? undefined : `its key is of a kind that is not supported: ${curve ?? kind}`;
}

/** Whether this signature was verified before, so that looking at it costs nothing. */
export function isVerified(certificate: PathCertificate, issuer: PathCertificate): boolean {
  const link = linkOf(certificate, issuer);
  if (!verified.delete(link)) return false;
  verified.add(link);
  return true;
}

/**
 * Verifies that the key of an issuer has made the signature of a certificate.
 *
 * @param certificate The certificate.
 * @param issuer The certificate of the issuer. Whether it may issue is not looked at.
 * @returns Why the signature does not count, or `undefined` if it does.
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
  /** The signed bytes, the signature, and its algorithm as it stands in two places. */
  readonly structure: Pick<CertificateStructure, "signed" | "signedAlgorithm" | "algorithm" | "signature">;
  /** How it is signed. */
  readonly signatureAlgorithm: SignatureAlgorithm;
}

/**
 * Verifies that the key of an issuer has made a signature. The outcome is not remembered.
 *
 * @param data The signed data.
 * @param issuer The certificate of the issuer. Whether it may issue is not looked at.
 * @returns Why the signature does not count, or `undefined` if it does.
 */
export function signedDataFault(data: SignedData, issuer: PathCertificate): string | undefined {
  const { structure, signatureAlgorithm } = data;
  const { scheme, hash } = signatureAlgorithm;
  if (!Buffer.from(structure.algorithm.encoded).equals(structure.signedAlgorithm.encoded)) {
    return "it names two signature algorithms";
  }
  if (scheme !== "ed25519" && !HASHES.includes(hash ?? "")) return `it is signed with ${hash ?? signatureAlgorithm.id}`;
  if (!fitsKey(signatureAlgorithm, issuer.publicKey)) return "it is signed with another kind of key";
  return verifies(data, issuer) ? undefined : "its signature is not the issuer's";
}

function verifies({ structure, signatureAlgorithm }: SignedData, issuer: PathCertificate): boolean {
  const { scheme, hash, saltLength } = signatureAlgorithm;
  try {
    const key = keyOf(issuer);
    if (isMisjudged(issuer, hash)) return verifyP521(structure.signed, structure.signature, pointOf(issuer), hash!);
    const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, ...(saltLength !== undefined && { saltLength }) };
    return verify(hash ?? null, structure.signed, scheme === "rsa-pss" ? pss : key, structure.signature);
  } catch {
    return false;
  }
}

/** A digest that is too short for `crypto.verify()` of Deno, see {@linkcode verifyP521}. */
function isMisjudged({ publicKey: { curve } }: PathCertificate, hash: string | undefined): boolean {
  return curve === "P-521" && hash === "sha256";
}

function pointOf({ structure }: PathCertificate): Uint8Array {
  return bitString(readChildren(structure.publicKey)[1]);
}

function keyOf({ structure: { publicKey } }: PathCertificate): KeyObject {
  const id = digest(publicKey.encoded);
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

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}
