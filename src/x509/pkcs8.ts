import { Buffer } from "node:buffer";
import { CURVES, KeyAlgorithm } from "./algorithms.ts";
import {
  contentOf,
  DerTag,
  type DerValue,
  encodeDer,
  readChildren,
  readDerValue,
  readInteger,
  readOid,
} from "./der.ts";
import { areSameBytes, bitLengthOf, unsignedOf } from "./octets.ts";

/** A valid private key that not every runtime can use. The message says why and quotes no value of the key. */
export class UnusableKey extends Error {}

const SERVING_NAMES = "only RSA, P-256, P-384, P-521 and Ed25519 keys serve TLS on every runtime";

/** The names of algorithms and curves that do not serve TLS on every runtime, for error messages. */
const OTHER_KINDS: Readonly<Record<string, string>> = {
  [KeyAlgorithm.dsa]: "DSA",
  [KeyAlgorithm.rsaPss]: "RSA-PSS",
  [KeyAlgorithm.dh]: "DH",
  [KeyAlgorithm.x25519]: "X25519",
  [KeyAlgorithm.x448]: "X448",
  [KeyAlgorithm.ed448]: "Ed448",
  "1.3.132.0.10": "secp256k1",
  "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
  "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
  "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
};

/** The context-specific tags of an EC key (RFC 5915 section 3). */
const EcTag = { parameters: 0xa0, publicKey: 0xa1 } as const;

/** The encoded object identifiers of RSA and EC keys (X.690 section 8.19). */
const RSA_OID = Buffer.from("06092a864886f70d010101", "hex");
const EC_OID = Buffer.from("06072a8648ce3d0201", "hex");

/** No runtime serves with an RSA key under 1024 bits. Every runtime serves with one from 2048 bits. */
const MIN_RSA_BITS = 1024;
const MIN_RSA_BITS_EVERYWHERE = 2048;
/** The longest key that OpenSSL accepts. The work of a handshake grows with the cube of the length. */
const MAX_RSA_BITS = 16_384;
/** The version of RFC 8017 appendix A.1.2 for keys of more than two primes. */
const MULTI_PRIME = 1n;

/** Whether the content is that of an encrypted key (RFC 5958 section 3): an algorithm, then the encrypted bytes. */
export function isEncryptedPkcs8(der: Uint8Array): boolean {
  try {
    const tags = readChildren(readDerValue(der)).map(({ tag }) => tag);
    return tags.length === 2 && tags[0] === DerTag.sequence && tags[1] === DerTag.octetString;
  } catch {
    return false;
  }
}

/**
 * Converts a private key to the one form that every runtime reads: PKCS#8 of version 1, without public key and
 * attributes. The content decides about the form of the key, not the PEM label.
 *
 * Without the public key, every runtime derives it from the secret. OpenSSL believes a public key that is in the file.
 *
 * Refuses keys that crash a runtime: Node 22 crashes when it uses an EC key whose scalar is longer than its curve.
 *
 * @param der A key in PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) or SEC1 (RFC 5915). Bytes after the key are ignored.
 * @throws {UnusableKey} If no runtime, or not every runtime, can use a key of this kind.
 * @throws {RangeError} If this is not a private key.
 */
export function normalizeKey(der: Uint8Array): Uint8Array {
  const key = readDerValue(der);
  const children = readChildren(key);
  const [version, second, third] = children;
  const number = readInteger(version);
  if (number !== 0n && number !== 1n) throw new RangeError(`the version of the key is ${number}`);
  if (second?.tag === DerTag.sequence && third?.tag === DerTag.octetString) return normalizePkcs8(second, third);
  if (second?.tag === DerTag.octetString) return encodeEc(children, undefined);
  if (children.length === 6) throw unusableKind("DSA");
  return encodeRsa(key);
}

/**
 * Adds its SubjectPublicKeyInfo to an EC key in the form of {@linkcode normalizeKey}, because Deno serves only with EC
 * keys that hold the public key. Other keys have no place for it.
 */
export function withPublicKey(der: Uint8Array, publicKey: DerValue): Uint8Array {
  const [, algorithm, key] = readChildren(readDerValue(der));
  const [id, curve] = readChildren(algorithm);
  if (readOid(id) !== KeyAlgorithm.ec) return der;
  const point = encodeDer(EcTag.publicKey, readChildren(publicKey)[1]!.encoded);
  const { content } = readDerValue(contentOf(key, DerTag.octetString));
  const encoded = encodeDer(DerTag.sequence, Buffer.concat([content, point]));
  return encodePkcs8([id!.encoded, curve!.encoded], encoded);
}

function normalizePkcs8(algorithm: DerValue, key: DerValue): Uint8Array {
  const [id, parameters] = readChildren(algorithm);
  const oid = readOid(id);
  if (oid === KeyAlgorithm.rsa) return encodeRsa(readDerValue(key.content));
  if (oid === KeyAlgorithm.ec) return encodeEc(readChildren(readDerValue(key.content)), parameters);
  if (oid === KeyAlgorithm.ed25519) return encodePkcs8([id!.encoded], key.content);
  throw unusableKind(OTHER_KINDS[oid] ?? oid);
}

function encodeRsa(key: DerValue): Uint8Array {
  const [version, modulus, ...rest] = readChildren(key);
  if (readInteger(version) === MULTI_PRIME) throw new UnusableKey("it is an RSA key of more than two primes");
  // Version, modulus, two exponents, two primes, and three numbers that are derived from them.
  if (rest.length !== 7) throw new RangeError("an RSA key has nine numbers");
  const bits = bitLengthOf(contentOf(modulus, DerTag.integer));
  if (bits < MIN_RSA_BITS) {
    throw new UnusableKey(`RSA keys need ${MIN_RSA_BITS_EVERYWHERE} bits to serve TLS on every runtime: ${bits}`);
  }
  if (bits > MAX_RSA_BITS) throw new UnusableKey(`RSA keys may have ${MAX_RSA_BITS} bits: ${bits}`);
  return encodePkcs8([RSA_OID, encodeDer(DerTag.null, new Uint8Array())], key.encoded);
}

/** Encodes the parts in the order of RFC 5915 section 3. The algorithm of PKCS#8 may name the curve instead. */
function encodeEc([version, scalar, ...optional]: readonly DerValue[], parameters: DerValue | undefined): Uint8Array {
  if (readInteger(version) !== 1n) throw new RangeError("the version of the key is not 1");
  if (!optional.every(({ tag }) => tag === EcTag.parameters || tag === EcTag.publicKey)) {
    throw new RangeError("the EC key has an unknown part");
  }
  const own = optional.filter(({ tag }) => tag === EcTag.parameters).map(({ content }) => readDerValue(content));
  const curve = readCurve(parameters ? [parameters, ...own] : own);
  const content = [
    encodeDer(DerTag.integer, Buffer.of(1)),
    encodeDer(DerTag.octetString, readScalar(scalar, curve.order)),
  ];
  return encodePkcs8([EC_OID, curve.encoded], encodeDer(DerTag.sequence, Buffer.concat(content)));
}

/** The curve that the algorithm of PKCS#8 and the key itself name, with the order of its base point. */
function readCurve([curve, other]: readonly DerValue[]): { readonly encoded: Uint8Array; readonly order: bigint } {
  if (curve?.tag !== DerTag.oid) {
    const command = "openssl pkey -in FILE -ec_param_enc named_curve -out FILE.pem";
    throw new UnusableKey(`an EC key must name its curve (RFC 5480 section 2.1.1); convert it with: ${command}`);
  }
  if (other && !areSameBytes(curve.encoded, other.encoded)) throw new RangeError("the EC key names two curves");
  const oid = readOid(curve);
  const { name = OTHER_KINDS[oid] ?? oid, order } = CURVES[oid] ?? {};
  if (order === undefined) throw unusableKind(name);
  return { encoded: curve.encoded, order };
}

/** The scalar in as many bytes as the order has, because some tools omit leading zeros. */
function readScalar(scalar: DerValue | undefined, order: bigint): Uint8Array {
  const size = Math.ceil(order.toString(2).length / 8);
  const bytes = contentOf(scalar, DerTag.octetString);
  if (bytes.length > size) throw new UnusableKey("its EC scalar is longer than its curve (RFC 5915 section 3)");
  const number = unsignedOf(bytes);
  if (number === 0n || number >= order) {
    throw new UnusableKey("its EC scalar is not between zero and the order of its curve");
  }
  return Buffer.concat([Buffer.alloc(size - bytes.length), bytes]);
}

function encodePkcs8(algorithm: readonly Uint8Array[], key: Uint8Array): Uint8Array {
  return encodeDer(
    DerTag.sequence,
    Buffer.concat([
      encodeDer(DerTag.integer, Buffer.of(0)),
      encodeDer(DerTag.sequence, Buffer.concat(algorithm)),
      encodeDer(DerTag.octetString, key),
    ]),
  );
}

function unusableKind(kind: string): UnusableKey {
  return new UnusableKey(`${SERVING_NAMES}: ${kind}`);
}
