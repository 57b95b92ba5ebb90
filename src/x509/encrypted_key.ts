import { Buffer } from "node:buffer";
import { createDecipheriv, createHash, pbkdf2Sync, scryptSync } from "node:crypto";
import { contentOf, DerTag, type DerValue, readChildren, readDer, readInteger, readOid } from "./der.ts";
import type { PemSection } from "./pem.ts";

/** A cipher with the length of its key in bytes. */
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
/** A few seconds: what asks for more is no key file but an attack. */
const MAX_ITERATIONS = 10_000_000;
/** As many, in the units of scrypt (N r p), which also bounds its memory to half a GiB. */
const MAX_SCRYPT_WORK = 2 ** 22;

/**
 * Decrypts a private key, in the same way on every runtime: the runtimes' own readers know different schemes, one of
 * them reads `hmacWithSHA1` wrongly, and their errors do not tell a wrong passphrase from an unknown scheme.
 *
 * Knows PBES2 (RFC 8018) with PBKDF2 or scrypt (RFC 7914), and the older encryption by headers (RFC 1421), each with
 * AES-128 or AES-256 in CBC, or triple DES: what every runtime has.
 *
 * @param section The encrypted section.
 * @param passphrase What it was encrypted with.
 * @returns The plain section; `undefined` if the passphrase is wrong.
 * @throws {RangeError} If it is encrypted in another way.
 */
export function decryptKey(section: PemSection, passphrase: string): PemSection | undefined {
  const { label } = section;
  const isPkcs8 = label === "ENCRYPTED PRIVATE KEY";
  const der = isPkcs8 ? decryptPkcs8(section, passphrase) : decryptLegacy(section, passphrase);
  return der && { ...section, label: isPkcs8 ? "PRIVATE KEY" : label, headers: [], der };
}

/** RFC 5958 section 3, RFC 8018 appendix A.4. */
function decryptPkcs8({ der }: PemSection, passphrase: string): Uint8Array | undefined {
  const [info] = readDer(der);
  const [algorithm, data] = readChildren(info);
  const [scheme, parameters] = readChildren(algorithm);
  if (readOid(scheme) !== PBES2) throw new RangeError(`the encryption scheme is ${readOid(scheme)}`);
  const [derivation, encryption] = readChildren(parameters);
  const [cipherId, iv] = readChildren(encryption);
  const cipher = known(CIPHERS, cipherId, "cipher");
  const key = deriveKey(passphrase, readChildren(derivation), cipher);
  return decrypt(cipher, key, contentOf(iv, DerTag.octetString), contentOf(data, DerTag.octetString));
}

function deriveKey(passphrase: string, [id, parameters]: DerValue[], [, keyLength]: Cipher): Uint8Array {
  const [saltValue, ...rest] = readChildren(parameters);
  const salt = contentOf(saltValue, DerTag.octetString);
  switch (readOid(id)) {
    case PBKDF2: {
      const iterations = positive(rest[0]);
      const prf = rest.find(({ tag }) => tag === DerTag.sequence);
      const hash = prf ? known(PRFS, readChildren(prf)[0], "hash") : "sha1";
      if (iterations > MAX_ITERATIONS) throw new RangeError(`the key derivation takes ${iterations} iterations`);
      return pbkdf2Sync(passphrase, salt, iterations, keyLength, hash);
    }
    case SCRYPT: {
      const [N, r, p] = [positive(rest[0]), positive(rest[1]), positive(rest[2])];
      if (N * r * p > MAX_SCRYPT_WORK) throw new RangeError(`the key derivation takes scrypt ${N} ${r} ${p}`);
      return scryptSync(passphrase, salt, keyLength, { N, r, p, maxmem: 256 * MAX_SCRYPT_WORK });
    }
    default:
      throw new RangeError(`the key derivation is ${readOid(id)}`);
  }
}

function positive(value: DerValue | undefined): number {
  const number = Number(readInteger(value));
  if (number > 0) return number;
  throw new RangeError("the key derivation asks for less than nothing");
}

/** RFC 1421 section 4.6.1.3, with the key derivation of OpenSSL: MD5, salted with the first half of the IV. */
function decryptLegacy({ der, headers }: PemSection, passphrase: string): Uint8Array | undefined {
  const [, name = "", hex = ""] = LEGACY_HEADERS.exec(headers.join("\n")) ?? [];
  const cipher = Object.values(CIPHERS).find(([known]) => known === name.toLowerCase());
  if (!cipher) throw new RangeError("the headers name no known cipher");
  const [, keyLength] = cipher;
  const iv = Buffer.from(hex, "hex");
  let key = new Uint8Array();
  let block = key;
  while (key.length < keyLength) {
    block = new Uint8Array(createHash("md5").update(block).update(passphrase).update(iv.subarray(0, 8)).digest());
    key = new Uint8Array([...key, ...block]);
  }
  return decrypt(cipher, key.subarray(0, keyLength), iv, der);
}

/** One wrong passphrase in 256 passes the check of the padding; that what comes out is one DER value tells the rest. */
function decrypt([name]: Cipher, key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array | undefined {
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

function known<T>(table: Readonly<Record<string, T>>, id: DerValue | undefined, what: string): T {
  const oid = readOid(id);
  const found = table[oid];
  if (found === undefined) throw new RangeError(`the ${what} is ${oid}`);
  return found;
}
