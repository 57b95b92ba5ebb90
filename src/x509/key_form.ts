import { Buffer } from "node:buffer";
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

/** A key that is not used on any runtime, with the reason. Its message is ours and quotes no value of the key. */
export class UnusableKey extends Error {}

const RSA = "1.2.840.113549.1.1.1";
const EC = "1.2.840.10045.2.1";
const ED25519 = "1.3.101.112";
const SERVING_NAMES = "only RSA, P-256, P-384, P-521 and Ed25519 keys serve TLS on every runtime";

/** The order of each curve on which all runtimes serve TLS (SEC 2 section 2). */
const CURVE_ORDERS: Readonly<Record<string, bigint>> = {
  "1.2.840.10045.3.1.7": 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  "1.3.132.0.34": 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  "1.3.132.0.35":
    0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
};

/** Names for messages, of algorithms and curves that do not serve TLS on every runtime. */
const OTHER_KINDS: Readonly<Record<string, string>> = {
  "1.2.840.10040.4.1": "DSA",
  "1.2.840.113549.1.1.10": "RSA-PSS",
  "1.2.840.113549.1.3.1": "DH",
  "1.3.101.110": "X25519",
  "1.3.101.111": "X448",
  "1.3.101.113": "Ed448",
  "1.2.840.10045.3.1.1": "P-192",
  "1.3.132.0.33": "P-224",
  "1.3.132.0.10": "secp256k1",
  "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
  "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
  "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
};

/** Under 1024 bits no runtime serves; from 2048 bits on all do. */
const MIN_RSA_BITS = 1024;
const MIN_RSA_BITS_EVERYWHERE = 2048;
/** The most that OpenSSL takes. The work of a handshake grows with the cube of the size. */
const MAX_RSA_BITS = 16_384;
/** The version of RFC 8017 appendix A.1.2 for keys of more than two primes. */
const MULTI_PRIME = 1n;

/** Tells an encrypted key (RFC 5958 section 3) by its content: an algorithm, then the encrypted bytes. */
export function isEncryptedPkcs8(der: Uint8Array): boolean {
  try {
    const tags = readChildren(readDerValue(der)).map(({ tag }) => tag);
    return tags.length === 2 && tags[0] === DerTag.sequence && tags[1] === DerTag.octetString;
  } catch {
    return false;
  }
}

/**
 * Writes a private key in the one form that every runtime reads: PKCS#8 of version 1, without public key and
 * attributes. Its content decides what it is, not the label that it stood under.
 *
 * Checks what the runtimes do not survive: on Node 22 the use of an EC key whose scalar is longer than its curve ends
 * the process.
 *
 * @param der A key in PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) or SEC1 (RFC 5915). Bytes after it are ignored.
 * @returns The key in PKCS#8.
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

function normalizePkcs8(algorithm: DerValue, key: DerValue): Uint8Array {
  const [id, parameters] = readChildren(algorithm);
  const oid = readOid(id);
  if (oid === RSA) return encodeRsa(readDerValue(key.content));
  if (oid === EC) return encodeEc(readChildren(readDerValue(key.content)), parameters);
  if (oid === ED25519) return encodePkcs8([id!.encoded], key.content);
  throw unusableKind(OTHER_KINDS[oid] ?? oid);
}

function encodeRsa(key: DerValue): Uint8Array {
  const [version, modulus, ...rest] = readChildren(key);
  if (readInteger(version) === MULTI_PRIME) throw new UnusableKey("it is an RSA key of more than two primes");
  // Version, modulus, the two exponents, two primes, and three numbers that follow from them.
  if (rest.length !== 7) throw new RangeError("an RSA key has nine numbers");
  const bits = bitLength(contentOf(modulus, DerTag.integer));
  if (bits < MIN_RSA_BITS) {
    throw new UnusableKey(`RSA keys need ${MIN_RSA_BITS_EVERYWHERE} bits to serve TLS on every runtime: ${bits}`);
  }
  if (bits > MAX_RSA_BITS) throw new UnusableKey(`RSA keys may have ${MAX_RSA_BITS} bits: ${bits}`);
  return encodePkcs8([oidOf(RSA), encodeDer(0x05, new Uint8Array())], key.encoded);
}

/** The order of parts of RFC 5915 section 3; the curve may be named in the algorithm of PKCS#8 instead. */
function encodeEc([version, scalar, ...optional]: readonly DerValue[], parameters: DerValue | undefined): Uint8Array {
  if (readInteger(version) !== 1n) throw new RangeError("the version of the key is not 1");
  if (!optional.every(({ tag }) => tag === 0xa0 || tag === 0xa1)) {
    throw new RangeError("the EC key has an unknown part");
  }
  const own = optional.filter(({ tag }) => tag === 0xa0).map(({ content }) => readDerValue(content));
  const [curve, other] = parameters ? [parameters, ...own] : own;
  if (curve?.tag !== DerTag.oid) {
    const command = "openssl pkey -in FILE -ec_param_enc named_curve -out FILE.pem";
    throw new UnusableKey(`an EC key must name its curve (RFC 5480 section 2.1.1); convert it with: ${command}`);
  }
  if (other && Buffer.compare(curve.encoded, other.encoded) !== 0) throw new RangeError("the EC key names two curves");
  const oid = readOid(curve);
  const order = CURVE_ORDERS[oid];
  if (order === undefined) throw unusableKind(OTHER_KINDS[oid] ?? oid);
  const size = Math.ceil(order.toString(2).length / 8);
  const bytes = contentOf(scalar, DerTag.octetString);
  if (bytes.length > size) throw new UnusableKey("its EC scalar is longer than its curve (RFC 5915 section 3)");
  const number = BigInt(`0x0${Buffer.from(bytes).toString("hex")}`);
  if (number === 0n || number >= order) {
    throw new UnusableKey("its EC scalar is not between zero and the order of its curve");
  }
  // Some tools leave out leading zeros.
  const padded = Buffer.concat([Buffer.alloc(size - bytes.length), bytes]);
  const publicKeys = optional.filter(({ tag }) => tag === 0xa1);
  publicKeys.forEach(({ content }) => contentOf(readDerValue(content), 0x03));
  const content = [encodeDer(DerTag.integer, Buffer.of(1)), encodeDer(DerTag.octetString, padded)];
  content.push(...publicKeys.map(({ encoded }) => encoded));
  return encodePkcs8([oidOf(EC), curve.encoded], encodeDer(DerTag.sequence, Buffer.concat(content)));
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

function bitLength(integer: Uint8Array): number {
  const start = integer.findIndex((byte) => byte !== 0);
  return start < 0 ? 0 : 8 * (integer.length - start) - Math.clz32(integer[start]!) + 24;
}

/** The two object identifiers that are written here (X.690 section 8.19). */
function oidOf(oid: typeof RSA | typeof EC): Uint8Array {
  return Buffer.from(oid === RSA ? "06092a864886f70d010101" : "06072a8648ce3d0201", "hex");
}
