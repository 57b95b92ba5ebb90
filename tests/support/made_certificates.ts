import { Buffer } from "node:buffer";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { encodePem } from "../../mod.ts";
import { encodeDer } from "../../src/x509/der.ts";
import { PathCertificate } from "../../src/x509/path_certificate.ts";

/** A certificate written in DER by a test, well-formed or not, with its key. */
export interface Made {
  readonly der: Uint8Array;
  readonly pem: string;
  readonly key: KeyPair;
  readonly subject: Uint8Array;
  readonly serialNumber: number;
  readonly keyIdentifier: Uint8Array;
  readonly parsed: PathCertificate;
  /** Who has signed it, if it was not signed by itself. */
  readonly issuer: Made | undefined;
}

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface MakeOptions {
  /** Signs; the certificate signs itself if there is none. */
  readonly issuer?: Made;
  readonly key?: KeyPair;
  /** The text of a common name, or a Name in DER. */
  readonly subject?: string | Uint8Array;
  /** Another issuer than the one that signs. */
  readonly issuerName?: Uint8Array;
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly version?: 1 | 2 | 3;
  readonly extensions?: readonly Uint8Array[];
  /** The AlgorithmIdentifier that stands before the signature, if it is another one. */
  readonly outerAlgorithm?: Uint8Array;
  readonly hash?: "sha1" | "sha256" | "sha512";
  /** Changed, it is a forgery. */
  readonly isForged?: boolean;
}

const HOUR_MS = 3_600_000;
let serials = 1;

export const sequence = (...parts: readonly Uint8Array[]) => encodeDer(0x30, Buffer.concat(parts));
export const integer = (value: number) => encodeDer(0x02, Buffer.from(value < 128 ? [value] : [value >> 8, value]));
export const boolean = (value: boolean) => encodeDer(0x01, Buffer.of(value ? 0xff : 0));
export const octets = (content: Uint8Array) => encodeDer(0x04, content);
export const bits = (content: Uint8Array, unused = 0) => encodeDer(0x03, Buffer.concat([Buffer.of(unused), content]));
export const text = (tag: number, value: string) => encodeDer(tag, Buffer.from(value, "latin1"));

export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [40 * first + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift(0x80 | (left & 0x7f));
    }
    return groups;
  });
  return encodeDer(0x06, Buffer.from(bytes));
}

/** A Name of common names and the like: `[["2.5.4.3", "x"]]`. */
export function nameOf(
  ...attributes: readonly (readonly [type: string, value: string, tag?: number | undefined])[]
): Uint8Array {
  return sequence(
    ...attributes.map(([type, value, tag = 0x0c]) => encodeDer(0x31, sequence(oid(type), text(tag, value)))),
  );
}

export const commonName = (value: string) => nameOf(["2.5.4.3", value]);

/** Extensions, each as it stands in the list. */
export const extension = {
  raw: (id: string, value: Uint8Array, isCritical = false) =>
    sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octets(value)),
  basicConstraints: (isCa: boolean, pathLength?: number) =>
    extension.raw(
      "2.5.29.19",
      sequence(...(isCa ? [boolean(true)] : []), ...(pathLength === undefined ? [] : [integer(pathLength)])),
      true,
    ),
  /** The first byte of the bits: `0x80` digitalSignature, `0x04` keyCertSign, `0x02` cRLSign. */
  keyUsage: (byte: number) => extension.raw("2.5.29.15", bits(Buffer.of(byte)), true),
  extKeyUsage: (...ids: readonly string[]) => extension.raw("2.5.29.37", sequence(...ids.map(oid))),
  subjectKeyIdentifier: (id: Uint8Array) => extension.raw("2.5.29.14", octets(id)),
  authorityKeyIdentifier: (...fields: readonly Uint8Array[]) => extension.raw("2.5.29.35", sequence(...fields)),
  keyIdOf: ({ keyIdentifier }: Pick<Made, "keyIdentifier">) =>
    extension.authorityKeyIdentifier(encodeDer(0x80, keyIdentifier)),
  subjectAltName: (...names: readonly Uint8Array[]) => extension.raw("2.5.29.17", sequence(...names)),
  nameConstraints: (limits: { permitted?: readonly Uint8Array[]; excluded?: readonly Uint8Array[] }) => {
    const subtrees = (tag: number, names: readonly Uint8Array[] = []) =>
      names.length > 0 ? [encodeDer(tag, Buffer.concat(names.map((name) => sequence(name))))] : [];
    return extension.raw(
      "2.5.29.30",
      sequence(...subtrees(0xa0, limits.permitted), ...subtrees(0xa1, limits.excluded)),
      true,
    );
  },
};

/** General names. */
export const general = {
  dns: (value: string) => text(0x82, value),
  email: (value: string) => text(0x81, value),
  uri: (value: string) => text(0x86, value),
  ip: (...bytes: readonly number[]) => encodeDer(0x87, Buffer.from(bytes)),
  directory: (name: Uint8Array) => encodeDer(0xa4, name),
  other: (id: string, value: Uint8Array) => encodeDer(0xa0, Buffer.concat([oid(id), encodeDer(0xa0, value)])),
};

export const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
export const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

export function ecKey(namedCurve = "P-256"): KeyPair {
  return generateKeyPairSync("ec", { namedCurve });
}

export function rsaKey(modulusLength = 2048): KeyPair {
  return generateKeyPairSync("rsa", { modulusLength });
}

const ALGORITHMS: Readonly<Record<string, Uint8Array>> = {
  "ec sha1": sequence(oid("1.2.840.10045.4.1")),
  "ec sha256": sequence(oid("1.2.840.10045.4.3.2")),
  "ec sha512": sequence(oid("1.2.840.10045.4.3.4")),
  "rsa sha1": sequence(oid("1.2.840.113549.1.1.5"), encodeDer(0x05, Buffer.of())),
  "rsa sha256": sequence(oid("1.2.840.113549.1.1.11"), encodeDer(0x05, Buffer.of())),
  "rsa sha512": sequence(oid("1.2.840.113549.1.1.13"), encodeDer(0x05, Buffer.of())),
};

/** Makes a certificate with just these extensions. */
export function make(options: MakeOptions = {}): Made {
  const { issuer, key = ecKey(), version = 3, hash = "sha256" } = options;
  const subject = typeof options.subject === "object" ? options.subject : commonName(options.subject ?? "made");
  const signer = issuer?.key ?? key;
  const algorithm = ALGORITHMS[`${signer.privateKey.asymmetricKeyType} ${hash}`]!;
  const spki = key.publicKey.export({ type: "spki", format: "der" });
  const serialNumber = serials++;
  const { notBefore = Date.now() - HOUR_MS, notAfter = Date.now() + HOUR_MS } = options;
  const signed = sequence(
    ...(version === 1 ? [] : [encodeDer(0xa0, integer(version - 1))]),
    integer(serialNumber),
    algorithm,
    options.issuerName ?? issuer?.subject ?? subject,
    sequence(time(notBefore), time(notAfter)),
    subject,
    spki,
    ...(options.extensions?.length ? [encodeDer(0xa3, sequence(...options.extensions))] : []),
  );
  const signature = sign(hash, signed, signer.privateKey);
  if (options.isForged) signature[signature.length - 1]! ^= 1;
  const der = sequence(signed, options.outerAlgorithm ?? algorithm, bits(signature));
  return {
    der,
    pem: encodePem({ label: "CERTIFICATE", der }),
    key,
    subject,
    serialNumber,
    keyIdentifier: keyIdentifierOf(key),
    issuer,
    get parsed() {
      return new PathCertificate(der);
    },
  };
}

export function keyIdentifierOf({ publicKey }: KeyPair): Uint8Array {
  return createHash("sha1").update(publicKey.export({ type: "spki", format: "der" })).digest();
}

function time(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return digits < "2050" ? text(0x17, digits.slice(2)) : text(0x18, digits);
}
