import { Buffer } from "node:buffer";
import { createDecipheriv, createHash, pbkdf2, pbkdf2Sync, scrypt, scryptSync } from "node:crypto";
import { contentOf, DerTag, type DerValue, readChildren, readDer, readDerValue, readInteger, readOid } from "./der.ts";
import { isEncryptedPkcs8 } from "./pkcs8.ts";
import type { PemSection } from "./pem.ts";

/** A cipher and the length of its key in bytes. */
type Cipher = readonly [name: string, keyLength: number];

const PBES2 = "1.2.840.113549.1.5.13";
const PBKDF2 = "1.2.840.113549.1.5.12";
const SCRYPT = "1.3.6.1.4.1.11591.4.11";
const CIPHERS: Readonly<Record<string, Cipher>> = {
  "1.2.840.113549.3.7": ["des-ede3-cbc", 24],
  "2.16.840.1.101.3.4.1.2": ["aes-128-cbc", 16],
  "2.16.840.1.101.3.4.1.42": ["aes-256-cbc", 32],
};
const PRFS: Readonly<Record<string, string>> = {
  "1.2.840.113549.2.7": "sha1",
  "1.2.840.113549.2.8": "sha224",
  "1.2.840.113549.2.9": "sha256",
  "1.2.840.113549.2.10": "sha384",
  "1.2.840.113549.2.11": "sha512",
};
/** RFC 1421 section 4.6.1.1 and 4.6.1.3, as strict as OpenSSL. */
const LEGACY_HEADERS = /^Proc-Type: *4, *ENCRYPTED\nDEK-Info: *([^,\s]+), *(\S+)/;
/** Takes up to ten seconds. A key file that demands more is an attack. */
const MAX_ITERATIONS = 10_000_000;
/** About the same work in the units of scrypt (N r p). It also limits the memory to half a GiB. */
const MAX_SCRYPT_WORK = 2 ** 22;
const MAX_SCRYPT_BYTES = 256 * MAX_SCRYPT_WORK;

/** The derivation of the cipher key from the passphrase. */
type Derivation =
  & { readonly salt: Uint8Array; readonly keyLength: number }
  & (
    | { readonly scheme: "pbkdf2"; readonly iterations: number; readonly hash: string }
    | { readonly scheme: "scrypt"; readonly cost: { readonly N: number; readonly r: number; readonly p: number } }
    | { readonly scheme: "md5" }
  );

/** The parts of an encrypted key. */
interface Encryption {
  readonly derivation: Derivation;
  readonly cipher: Cipher;
  readonly iv: Uint8Array;
  readonly data: Uint8Array;
}

/**
 * Decrypts a private key in the same way on every runtime. The readers of the runtimes are not used, because they
 * support different schemes, one of them misreads `hmacWithSHA1`, and their errors do not distinguish a wrong
 * passphrase from an unknown scheme. Blocks the event loop while it derives the key.
 *
 * Supports PBES2 (RFC 8018) with PBKDF2 or scrypt (RFC 7914), and the older encryption by headers (RFC 1421), each with
 * AES-128 or AES-256 in CBC, or triple DES: the ciphers that all runtimes have.
 *
 * @returns The plain key in DER; `undefined` if the passphrase is wrong.
 * @throws {RangeError} If the key is encrypted with another scheme.
 */
export function decryptKey(section: PemSection, passphrase: string): Uint8Array | undefined {
  const encryption = readEncryption(section);
  return decrypt(encryption, deriveKey(encryption.derivation, passphrase));
}

/** Like {@linkcode decryptKey}, but derives the key in a thread of the runtime. */
export async function decryptKeyInBackground(section: PemSection, passphrase: string): Promise<Uint8Array | undefined> {
  const encryption = readEncryption(section);
  return decrypt(encryption, await deriveKeyInBackground(encryption.derivation, passphrase));
}

function readEncryption(section: PemSection): Encryption {
  return isEncryptedPkcs8(section.der) ? readPbes2(section) : readHeaders(section);
}

/** RFC 5958 section 3, RFC 8018 appendix A.4. */
function readPbes2({ der }: PemSection): Encryption {
  const [algorithm, data] = readChildren(readDerValue(der));
  const [scheme, parameters] = readChildren(algorithm);
  if (readOid(scheme) !== PBES2) throw new RangeError(`the encryption scheme is ${readOid(scheme)}`);
  const [derivation, encryption] = readChildren(parameters);
  const [cipherId, iv] = readChildren(encryption);
  const cipher = lookUp(CIPHERS, cipherId, "cipher");
  return {
    cipher,
    derivation: readDerivation(readChildren(derivation), cipher),
    iv: contentOf(iv, DerTag.octetString),
    data: contentOf(data, DerTag.octetString),
  };
}

function readDerivation([id, parameters]: DerValue[], [, keyLength]: Cipher): Derivation {
  const [saltValue, ...rest] = readChildren(parameters);
  const salt = contentOf(saltValue, DerTag.octetString);
  switch (readOid(id)) {
    case PBKDF2: {
      const iterations = positive(rest[0]);
      const prf = rest.find(({ tag }) => tag === DerTag.sequence);
      const hash = prf ? lookUp(PRFS, readChildren(prf)[0], "hash") : "sha1";
      if (iterations > MAX_ITERATIONS) throw new RangeError(`the key derivation takes ${iterations} iterations`);
      return { scheme: "pbkdf2", salt, keyLength, iterations, hash };
    }
    case SCRYPT: {
      const cost = { N: positive(rest[0]), r: positive(rest[1]), p: positive(rest[2]) };
      const { N, r, p } = cost;
      if (N * r * p > MAX_SCRYPT_WORK) throw new RangeError(`the key derivation takes scrypt ${N} ${r} ${p}`);
      return { scheme: "scrypt", salt, keyLength, cost };
    }
    default:
      throw new RangeError(`the key derivation is ${readOid(id)}`);
  }
}

function deriveKey(derivation: Derivation, passphrase: string): Uint8Array {
  const { scheme, salt, keyLength } = derivation;
  switch (scheme) {
    case "pbkdf2":
      return pbkdf2Sync(passphrase, salt, derivation.iterations, keyLength, derivation.hash);
    case "scrypt":
      return scryptSync(passphrase, salt, keyLength, { ...derivation.cost, maxmem: MAX_SCRYPT_BYTES });
    case "md5":
      return deriveByMd5(passphrase, salt, keyLength);
  }
}

function deriveKeyInBackground(derivation: Derivation, passphrase: string): Promise<Uint8Array> {
  const { scheme, salt, keyLength } = derivation;
  return new Promise((resolve, reject) => {
    const settle = (error: Error | null, key: Uint8Array) => error ? reject(error) : resolve(key);
    if (scheme === "pbkdf2") {
      pbkdf2(passphrase, salt, derivation.iterations, keyLength, derivation.hash, settle);
    } else if (scheme === "scrypt") {
      scrypt(passphrase, salt, keyLength, { ...derivation.cost, maxmem: MAX_SCRYPT_BYTES }, settle);
    } else {
      resolve(deriveByMd5(passphrase, salt, keyLength));
    }
  });
}

/** The key derivation of OpenSSL for encryption by headers: chained MD5 over passphrase and salt. */
function deriveByMd5(passphrase: string, salt: Uint8Array, keyLength: number): Uint8Array {
  let key = new Uint8Array();
  let block = key;
  while (key.length < keyLength) {
    block = new Uint8Array(createHash("md5").update(block).update(passphrase).update(salt).digest());
    key = new Uint8Array([...key, ...block]);
  }
  return key.subarray(0, keyLength);
}

function positive(value: DerValue | undefined): number {
  const number = Number(readInteger(value));
  if (number > 0) return number;
  throw new RangeError("a number of the key derivation is not positive");
}

/** RFC 1421 section 4.6.1.3. The first half of the IV is also the salt. */
function readHeaders({ der, headers }: PemSection): Encryption {
  const [, name = "", hex = ""] = LEGACY_HEADERS.exec(headers.join("\n")) ?? [];
  const cipher = Object.values(CIPHERS).find(([each]) => each === name.toLowerCase());
  if (!cipher) throw new RangeError("the headers name no known cipher");
  const iv = Buffer.from(hex, "hex");
  return { cipher, derivation: { scheme: "md5", salt: iv.subarray(0, 8), keyLength: cipher[1] }, iv, data: der };
}

/** Also checks that the result is one DER value, because the padding is correct for one wrong passphrase in 256. */
function decrypt({ cipher: [name], iv, data }: Encryption, key: Uint8Array): Uint8Array | undefined {
  const decipher = createDecipheriv(name, key, iv);
  try {
    const plain = Buffer.concat([decipher.update(data), decipher.final()]);
    const [value, ...rest] = readDer(plain);
    readChildren(value);
    return rest.length === 0 ? new Uint8Array(plain) : undefined;
  } catch {
    return undefined;
  }
}

function lookUp<T>(table: Readonly<Record<string, T>>, id: DerValue | undefined, what: string): T {
  const oid = readOid(id);
  const found = table[oid];
  if (found === undefined) throw new RangeError(`the ${what} is ${oid}`);
  return found;
}
