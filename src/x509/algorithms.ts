import { Buffer } from "node:buffer";
import { bitString, type CertificateStructure } from "./certificate_structure.ts";
import { type DerValue, readChildren, readDer, readInteger, readOid } from "./der.ts";

/** A kind of public key, in the words of `KeyObject.asymmetricKeyType`. */
export type PublicKeyKind = "rsa" | "rsa-pss" | "ec" | "ed25519" | "ed448" | "dsa" | "other";

/** The public key of a certificate. */
export interface PublicKeyFacts {
  /** Of which kind it is. */
  readonly kind: PublicKeyKind;
  /** The length of the modulus of RSA or of the order of a known curve; `undefined` where it is not known. */
  readonly bits: number | undefined;
  /** The name of the curve, such as `P-256`, or its object identifier; `undefined` for explicit parameters. */
  readonly curve: string | undefined;
}

/** The algorithm of a signature. */
export interface SignatureAlgorithm {
  /** Its object identifier. */
  readonly id: string;
  /** How it signs; `undefined` if it is not known. */
  readonly scheme: "rsa" | "rsa-pss" | "ecdsa" | "ed25519" | "ed448" | undefined;
  /** The digest, in the words of `crypto.getHashes()`; `undefined` where the scheme has its own or it is not known. */
  readonly hash: string | undefined;
  /** The length of the salt of RSASSA-PSS in bytes. */
  readonly saltLength: number | undefined;
}

const KINDS: Readonly<Record<string, PublicKeyKind>> = {
  "1.2.840.113549.1.1.1": "rsa",
  "1.2.840.113549.1.1.10": "rsa-pss",
  "1.2.840.10045.2.1": "ec",
  "1.3.101.112": "ed25519",
  "1.3.101.113": "ed448",
  "1.2.840.10040.4.1": "dsa",
};

/** The curves of RFC 5480 section 2.1.1.1 with the length of their order. */
const CURVES: Readonly<Record<string, readonly [name: string, bits: number]>> = {
  "1.2.840.10045.3.1.1": ["P-192", 192],
  "1.3.132.0.33": ["P-224", 224],
  "1.2.840.10045.3.1.7": ["P-256", 256],
  "1.3.132.0.34": ["P-384", 384],
  "1.3.132.0.35": ["P-521", 521],
};

/** The digests that signatures are made with today (RFC 8017 appendix B.1); SHA-1 and MD5 are forgeable. */
const HASHES: Readonly<Record<string, string>> = {
  "2.16.840.1.101.3.4.2.4": "sha224",
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
  "1.3.14.3.2.26": "sha1",
};

const RSASSA_PSS = "1.2.840.113549.1.1.10";
const SCHEMES: Readonly<Record<string, Pick<SignatureAlgorithm, "scheme" | "hash">>> = {
  "1.2.840.113549.1.1.4": { scheme: "rsa", hash: "md5" },
  "1.2.840.113549.1.1.5": { scheme: "rsa", hash: "sha1" },
  "1.2.840.113549.1.1.14": { scheme: "rsa", hash: "sha224" },
  "1.2.840.113549.1.1.11": { scheme: "rsa", hash: "sha256" },
  "1.2.840.113549.1.1.12": { scheme: "rsa", hash: "sha384" },
  "1.2.840.113549.1.1.13": { scheme: "rsa", hash: "sha512" },
  "1.2.840.10045.4.1": { scheme: "ecdsa", hash: "sha1" },
  "1.2.840.10045.4.3.1": { scheme: "ecdsa", hash: "sha224" },
  "1.2.840.10045.4.3.2": { scheme: "ecdsa", hash: "sha256" },
  "1.2.840.10045.4.3.3": { scheme: "ecdsa", hash: "sha384" },
  "1.2.840.10045.4.3.4": { scheme: "ecdsa", hash: "sha512" },
  "1.3.101.112": { scheme: "ed25519", hash: undefined },
  "1.3.101.113": { scheme: "ed448", hash: undefined },
};

/**
 * Reads of which kind and length a public key is.
 *
 * @param structure The parts of the certificate.
 * @returns The facts.
 * @throws {RangeError} If the key is broken.
 */
export function readPublicKey({ publicKey }: Pick<CertificateStructure, "publicKey">): PublicKeyFacts {
  const [algorithm, key] = readChildren(publicKey);
  const [id, parameters] = readChildren(algorithm);
  const kind = KINDS[readOid(id)] ?? "other";
  if (kind === "rsa" || kind === "rsa-pss") {
    const [modulus] = readChildren(readDer(bitString(key))[0]);
    return { kind, bits: bitLength(modulus), curve: undefined };
  }
  if (kind !== "ec") return { kind, bits: undefined, curve: undefined };
  const curve = parameters?.tag === 0x06 ? readOid(parameters) : undefined;
  const [name = curve, bits] = CURVES[curve ?? ""] ?? [];
  return { kind, bits, curve: name };
}

/**
 * Reads the algorithm of a signature.
 *
 * @param algorithm The AlgorithmIdentifier.
 * @returns What it is; scheme and digest are `undefined` if it is not known.
 * @throws {RangeError} If it is broken.
 */
export function readSignatureAlgorithm(algorithm: DerValue): SignatureAlgorithm {
  const [oid, parameters] = readChildren(algorithm);
  const id = readOid(oid);
  if (id === RSASSA_PSS) return { id, scheme: "rsa-pss", ...readPssParameters(parameters) };
  return { id, scheme: undefined, hash: undefined, saltLength: undefined, ...SCHEMES[id] };
}

/** RFC 8017 appendix A.2.3: each of the fields has a default, SHA-1 for the digests. */
function readPssParameters(parameters: DerValue | undefined): Pick<SignatureAlgorithm, "hash" | "saltLength"> {
  const fields = readChildren(parameters);
  const fieldOf = (tag: number) => readDer(fields.find((field) => field.tag === tag)?.content ?? new Uint8Array())[0];
  const hashOf = (value: DerValue | undefined) => value ? HASHES[readOid(readChildren(value)[0])] : "sha1";
  const mask = fieldOf(0xa1);
  const hash = hashOf(fieldOf(0xa0));
  const salt = fieldOf(0xa2);
  // One digest for both, as RFC 4055 section 3.1 recommends: runtimes verify no other combination.
  const isUniform = hash === hashOf(mask && readChildren(mask)[1]);
  return { hash: isUniform ? hash : undefined, saltLength: salt ? Number(readInteger(salt)) : 20 };
}

function bitLength(integer: DerValue | undefined): number {
  const digits = Buffer.from(integer?.content ?? []).toString("hex").replace(/^0+/, "");
  return digits === "" ? 0 : 4 * digits.length - Math.clz32(parseInt(digits[0]!, 16)) + 28;
}
