import { bitString, type CertificateStructure } from "./certificate_structure.ts";
import { DerTag, type DerValue, readChildren, readDer, readInteger, readOid } from "./der.ts";
import { CURVES, KeyAlgorithm } from "./key_algorithms.ts";
import { bitLengthOf } from "./octets.ts";

/** A kind of public key, as `KeyObject.asymmetricKeyType` names it. */
export type PublicKeyKind = "rsa" | "rsa-pss" | "ec" | "ed25519" | "ed448" | "dsa" | "other";

/** The public key of a certificate. */
export interface PublicKeyFacts {
  /** The kind of the key. */
  readonly kind: PublicKeyKind;
  /** The length of the modulus of RSA, or of the order of a known curve; otherwise `undefined`. */
  readonly bits: number | undefined;
  /** The name of the curve, such as `P-256`, or its object identifier; `undefined` for explicit parameters. */
  readonly curve: string | undefined;
}

/** The algorithm of a signature. */
export interface SignatureAlgorithm {
  /** The object identifier. */
  readonly id: string;
  /** The signature scheme; `undefined` if it is not known. */
  readonly scheme: "rsa" | "rsa-pss" | "ecdsa" | "ed25519" | "ed448" | undefined;
  /** The digest, as `crypto.getHashes()` names it; `undefined` if the scheme fixes it or it is not known. */
  readonly hash: string | undefined;
  /** The length of the salt of RSASSA-PSS, in bytes. */
  readonly saltLength: number | undefined;
}

const KINDS: Readonly<Record<string, PublicKeyKind>> = {
  [KeyAlgorithm.rsa]: "rsa",
  [KeyAlgorithm.rsaPss]: "rsa-pss",
  [KeyAlgorithm.ec]: "ec",
  [KeyAlgorithm.ed25519]: "ed25519",
  [KeyAlgorithm.ed448]: "ed448",
  [KeyAlgorithm.dsa]: "dsa",
};

/** The digests of RSASSA-PSS (RFC 8017 appendix B.1). */
const HASHES: Readonly<Record<string, string>> = {
  "2.16.840.1.101.3.4.2.4": "sha224",
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
  "1.3.14.3.2.26": "sha1",
};

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
  [KeyAlgorithm.ed25519]: { scheme: "ed25519", hash: undefined },
  [KeyAlgorithm.ed448]: { scheme: "ed448", hash: undefined },
};

/**
 * Reads the kind and the length of a public key.
 *
 * @param structure The parts of the certificate.
 * @returns The facts.
 * @throws {RangeError} If the key is malformed.
 */
export function readPublicKey({ publicKey }: Pick<CertificateStructure, "publicKey">): PublicKeyFacts {
  const [algorithm, key] = readChildren(publicKey);
  const [id, parameters] = readChildren(algorithm);
  const kind = KINDS[readOid(id)] ?? "other";
  if (kind === "rsa" || kind === "rsa-pss") {
    const [modulus] = readChildren(readDer(bitString(key))[0]);
    return { kind, bits: bitLengthOf(modulus?.content ?? new Uint8Array()), curve: undefined };
  }
  if (kind !== "ec") return { kind, bits: undefined, curve: undefined };
  if (parameters?.tag !== DerTag.oid) return { kind, bits: undefined, curve: undefined };
  const curve = readOid(parameters);
  return { kind, bits: CURVES[curve]?.bits, curve: CURVES[curve]?.name ?? curve };
}

/**
 * Reads the algorithm of a signature.
 *
 * @param algorithm The AlgorithmIdentifier.
 * @returns The algorithm; scheme and digest are `undefined` if it is not known.
 * @throws {RangeError} If the value is malformed.
 */
export function readSignatureAlgorithm(algorithm: DerValue): SignatureAlgorithm {
  const [oid, parameters] = readChildren(algorithm);
  const id = readOid(oid);
  if (id === KeyAlgorithm.rsaPss) return { id, scheme: "rsa-pss", ...readPssParameters(parameters) };
  const { scheme, hash } = SCHEMES[id] ?? {};
  return { id, scheme, hash, saltLength: undefined };
}

/** RFC 8017 appendix A.2.3: each field has a default, SHA-1 for the digests. */
function readPssParameters(parameters: DerValue | undefined): Pick<SignatureAlgorithm, "hash" | "saltLength"> {
  const fields = readChildren(parameters);
  const fieldOf = (tag: number) => readDer(fields.find((field) => field.tag === tag)?.content ?? new Uint8Array())[0];
  const hashOf = (value: DerValue | undefined) => value ? HASHES[readOid(readChildren(value)[0])] : "sha1";
  const mask = fieldOf(0xa1);
  const hash = hashOf(fieldOf(0xa0));
  const salt = fieldOf(0xa2);
  // RFC 4055 section 3.1 recommends one digest for both. Runtimes do not verify other combinations.
  const isUniform = hash === hashOf(mask && readChildren(mask)[1]);
  return { hash: isUniform ? hash : undefined, saltLength: salt ? Number(readInteger(salt)) : 20 };
}
