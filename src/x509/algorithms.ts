import { bitString, type CertificateStructure } from "./certificate_structure.ts";
import { DerTag, type DerValue, readChildren, readDer, readInteger, readOid } from "./der.ts";
import { bitLengthOf } from "./octets.ts";

/** The object identifiers of public key algorithms (RFC 3279, RFC 8410). */
export const KeyAlgorithm = {
  rsa: "1.2.840.113549.1.1.1",
  rsaPss: "1.2.840.113549.1.1.10",
  dsa: "1.2.840.10040.4.1",
  dh: "1.2.840.113549.1.3.1",
  ec: "1.2.840.10045.2.1",
  x25519: "1.3.101.110",
  x448: "1.3.101.111",
  ed25519: "1.3.101.112",
  ed448: "1.3.101.113",
} as const;

/** A curve of ECDSA. */
interface Curve {
  /** The name in SP 800-186. */
  readonly name: string;
  /** The length of the order in bits. */
  readonly bits: number;
  /** The order of the base point, for the curves on which every runtime serves TLS (SEC 2 section 2). */
  readonly order?: bigint;
}

/** The order of P-521 (SP 800-186 section 3.2.1.5). */
export const P521_ORDER =
  0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n;

/** The curves of NIST by their object identifiers (RFC 5480 section 2.1.1.1). */
export const CURVES: Readonly<Record<string, Curve>> = {
  "1.2.840.10045.3.1.1": { name: "P-192", bits: 192 },
  "1.3.132.0.33": { name: "P-224", bits: 224 },
  "1.2.840.10045.3.1.7": {
    name: "P-256",
    bits: 256,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  "1.3.132.0.34": {
    name: "P-384",
    bits: 384,
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
  "1.3.132.0.35": { name: "P-521", bits: 521, order: P521_ORDER },
};

/** A kind of public key, as `KeyObject.asymmetricKeyType` names it. */
type PublicKeyKind = "rsa" | "rsa-pss" | "ec" | "ed25519" | "ed448" | "dsa" | "other";

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
 * Reads the algorithm of a signature. Scheme and digest are `undefined` if the algorithm is not known.
 *
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
