// What mutations start from: sound certificates, keys and hellos. All of it follows from fixed numbers, so that a seed
// reproduces a run, and none of it is a secret: the keys are hashes of their names, the RSA primes those of Mersenne.
import { Buffer } from "node:buffer";
import { createCipheriv, createECDH, createHash, createPrivateKey, pbkdf2Sync, scryptSync, sign } from "node:crypto";
import { encodePem } from "../../src/x509/pem.ts";

/** What the encrypted keys are encrypted with. */
export const PASSPHRASE = "a passphrase for fuzzing";

/** The inputs that are known to be good, by the target that takes them. */
export interface Seeds {
  readonly pem: readonly Uint8Array[];
  readonly certificate: readonly Uint8Array[];
  readonly chain: readonly Uint8Array[];
  readonly key: readonly Uint8Array[];
  readonly keyFile: readonly Uint8Array[];
  readonly bundle: readonly Uint8Array[];
  readonly crl: readonly Uint8Array[];
  readonly acceptor: readonly Uint8Array[];
  readonly hello: readonly Uint8Array[];
}

/** A value in DER (X.690 section 8.1). */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const length = content.length.toString(16).padStart(2, "0");
  const bytes = Buffer.from(length.length % 2 ? `0${length}` : length, "hex");
  const long = content.length < 0x80 ? [] : [0x80 + bytes.length];
  return Buffer.concat([Buffer.from([tag, ...long]), bytes, content]);
}

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const digest = (name: string, length = 32) => createHash("shake256", { outputLength: length }).update(name).digest();
const sequence = (...contents: readonly Uint8Array[]) => der(0x30, ...contents);
const text = (tag: number, value: string) => der(tag, Buffer.from(value));

function integer(value: bigint): Buffer {
  const digits = value.toString(16);
  const bytes = hex(digits.length % 2 ? `0${digits}` : digits);
  // The first bit is the sign.
  return der(0x02, bytes[0]! >= 0x80 ? hex("00") : Buffer.alloc(0), bytes);
}

/** Each by the hexadecimal of its content. */
const Oid = {
  commonName: "550403",
  organization: "55040a",
  domainComponent: "0992268993f22c640119",
  unknown: "2a0304",
  ed25519: "2b6570",
  rsa: "2a864886f70d010101",
  ec: "2a8648ce3d0201",
  p256: "2a8648ce3d030107",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  pbes2: "2a864886f70d01050d",
  pbkdf2: "2a864886f70d01050c",
  scrypt: "2b06010401da47040b",
  hmacSha256: "2a864886f70d0209",
  crlNumber: "551d14",
  authorityKeyIdentifier: "551d23",
  reasonCode: "551d15",
  aes128: "608648016503040102",
  aes256: "60864801650304012a",
  tripleDes: "2a864886f70d0307",
} as const;
const oid = (name: keyof typeof Oid) => der(0x06, hex(Oid[name]));

const NULL = der(0x05);

function ed25519Key(name: string): Buffer {
  return sequence(integer(0n), sequence(oid("ed25519")), der(0x04, der(0x04, digest(name))));
}

function sec1Key(withCurve: boolean): Buffer {
  const ecdh = createECDH("prime256v1");
  const scalar = digest("P-256");
  ecdh.setPrivateKey(scalar);
  const point = der(0xa1, der(0x03, hex("00"), ecdh.getPublicKey()));
  return sequence(integer(1n), der(0x04, scalar), ...(withCurve ? [der(0xa0, oid("p256"))] : []), point);
}

function rsaKey(): Buffer {
  const [p, q, e] = [2n ** 521n - 1n, 2n ** 607n - 1n, 65_537n];
  const d = inverse(e, (p - 1n) * (q - 1n));
  return sequence(...[0n, p * q, e, d, p, q, d % (p - 1n), d % (q - 1n), inverse(q, p)].map(integer));
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [r, next, s, nextS] = [modulus, value % modulus, 0n, 1n];
  while (next > 0n) {
    const times = r / next;
    [r, next, s, nextS] = [next, r - times * next, nextS, s - times * nextS];
  }
  return s < 0n ? s + modulus : s;
}

type Cipher = readonly [oid: keyof typeof Oid, name: string, keyLength: number, ivLength: number];

/** RFC 8018 appendix A.4. */
function encrypted(
  plain: Uint8Array,
  derivation: "pbkdf2" | "scrypt",
  [id, name, keyLength, ivLength]: Cipher,
): Buffer {
  const [salt, iv] = [digest("salt", 16), digest("iv", ivLength)];
  const key = derivation === "pbkdf2"
    ? pbkdf2Sync(PASSPHRASE, salt, 2, keyLength, "sha256")
    : scryptSync(PASSPHRASE, salt, keyLength, { N: 16, r: 1, p: 1 });
  const parameters = derivation === "pbkdf2"
    ? sequence(der(0x04, salt), integer(2n), sequence(oid("hmacSha256"), NULL))
    : sequence(der(0x04, salt), integer(16n), integer(1n), integer(1n));
  const scheme = sequence(sequence(oid(derivation), parameters), sequence(oid(id), der(0x04, iv)));
  const cipher = createCipheriv(name, key, iv);
  const data = Buffer.concat([cipher.update(plain), cipher.final()]);
  return sequence(sequence(oid("pbes2"), scheme), der(0x04, data));
}

/** RFC 1421 section 4.6.1.3. */
function legacyPem(plain: Uint8Array, label: string): string {
  const iv = digest("iv", 16);
  const md5 = (...parts: Uint8Array[]) => createHash("md5").update(Buffer.concat(parts)).digest();
  const key = md5(Buffer.from(PASSPHRASE), iv.subarray(0, 8));
  const cipher = createCipheriv("aes-128-cbc", key, iv);
  const data = Buffer.concat([cipher.update(plain), cipher.final()]);
  const headers = ["Proc-Type: 4,ENCRYPTED", `DEK-Info: AES-128-CBC,${iv.toString("hex").toUpperCase()}`];
  return encodePem({ label, der: data, headers });
}

interface Issue {
  readonly subject: Uint8Array;
  readonly validity?: readonly [Uint8Array, Uint8Array];
  readonly extensions?: readonly Uint8Array[];
  readonly serial?: Uint8Array;
}

const utcTime = (value: string) => text(0x17, value);
const generalizedTime = (value: string) => text(0x18, value);
const attribute = (id: keyof typeof Oid, value: Uint8Array) => sequence(oid(id), value);
const extension = (id: keyof typeof Oid, value: Uint8Array) => sequence(oid(id), der(0x04, value));

/** A certificate of an Ed25519 key, signed by itself (RFC 5280 section 4.1). */
export function issue({ subject, validity, extensions = [], serial = integer(0x1234n) }: Issue): Buffer {
  const key = createPrivateKey({ key: ed25519Key("server"), format: "der", type: "pkcs8" });
  const { x } = key.export({ format: "jwk" });
  const algorithm = sequence(oid("ed25519"));
  const publicKey = sequence(algorithm, der(0x03, hex("00"), Buffer.from(x!, "base64url")));
  const [notBefore, notAfter] = validity ?? [utcTime("260101000000Z"), utcTime("460101000000Z")];
  const body = sequence(
    ...(extensions.length > 0 ? [der(0xa0, integer(2n))] : []),
    serial,
    algorithm,
    subject,
    sequence(notBefore, notAfter),
    subject,
    publicKey,
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  return sequence(body, algorithm, der(0x03, hex("00"), sign(null, body, key)));
}

/** A distinguished name; each list is one set of attributes. */
export function name(...sets: readonly (readonly Uint8Array[])[]): Buffer {
  return sequence(...sets.map((attributes) => der(0x31, ...attributes)));
}

/** The name of most of them. */
export const LOCALHOST = name([attribute("commonName", text(0x0c, "localhost"))]);

/** An extension with the names that the certificate is valid for. */
export function alternativeNames(...names: readonly Uint8Array[]): Buffer {
  return extension("subjectAltName", sequence(...names));
}

function certificates(): Buffer[] {
  const dns = (value: string) => text(0x82, value);
  const ip = (value: string) => der(0x87, hex(value));
  return [
    issue({
      subject: LOCALHOST,
      extensions: [
        extension("basicConstraints", sequence(hex("0101ff"))),
        alternativeNames(dns("localhost"), dns("*.example.test"), ip("7f000001"), ip("00".repeat(15) + "01")),
      ],
    }),
    issue({ subject: name() }),
    issue({
      subject: name(
        [attribute("domainComponent", text(0x16, "test"))],
        [
          attribute("organization", text(0x13, "A, B + C")),
          attribute("organization", der(0x1e, hex("00e9 4e2d"))),
        ],
        [attribute("unknown", text(0x14, " x "))],
        [attribute("commonName", der(0x1c, hex("00000041")))],
      ),
      serial: integer(2n ** 159n + 1n),
      validity: [generalizedTime("19000101000000Z"), generalizedTime("99991231235959Z")],
      extensions: [alternativeNames(ip("7f0001"), text(0x81, "mail@example.test"), dns(""), dns("a,DNS:b"))],
    }),
  ];
}

/** Lists that the first certificate has signed (RFC 5280 section 5.1). */
function revocationLists(): Buffer[] {
  const key = createPrivateKey({ key: ed25519Key("server"), format: "der", type: "pkcs8" });
  const algorithm = sequence(oid("ed25519"));
  const times = [utcTime("260101000000Z"), utcTime("460101000000Z")];
  const reason = sequence(extension("reasonCode", der(0x0a, hex("01"))));
  const entries = sequence(
    sequence(integer(0x1234n), utcTime("260101000000Z")),
    sequence(integer(2n ** 127n + 1n), generalizedTime("20260101000000Z"), reason),
  );
  const extensions = sequence(
    extension("crlNumber", integer(7n)),
    extension("authorityKeyIdentifier", sequence(der(0x80, digest("key identifier", 20)))),
  );
  return [[integer(1n), entries, der(0xa0, extensions)], [integer(1n)]].map(([version, ...rest]) => {
    const body = sequence(version!, algorithm, LOCALHOST, ...times, ...rest);
    return sequence(body, algorithm, der(0x03, hex("00"), sign(null, body, key)));
  });
}

/** RFC 8446 section 4.1.2: a record with a hello, of TLS 1.3 or of TLS 1.2 alone. */
export function clientHello(is13: boolean): Buffer {
  const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
  const list = (bytes: Uint8Array) => Buffer.concat([u16(bytes.length), bytes]);
  const ext = (type: number, ...data: readonly Uint8Array[]) => Buffer.concat([u16(type), list(Buffer.concat(data))]);
  const extensions = [
    ext(0, list(Buffer.concat([hex("00"), list(Buffer.from("localhost"))]))),
    ext(10, list(hex("001d 0017"))),
    ext(13, list(hex("0807 0403 0804"))),
    ext(16, list(Buffer.from("\x02h2\x08http/1.1"))),
    ...(is13 ? [ext(43, hex("02 0304")), ext(51, list(Buffer.concat([hex("001d"), list(digest("share"))])))] : []),
  ];
  const body = Buffer.concat([
    hex("0303"),
    digest("random"),
    hex("20"),
    digest("session"),
    list(hex("1301 c02b c02f")),
    hex("0100"),
    list(Buffer.concat(extensions)),
  ]);
  const handshake = Buffer.concat([hex("0100"), u16(body.length), body]);
  return Buffer.concat([hex("160301"), list(handshake)]);
}

/** A certificate with its key, to serve with. */
export function serverPem(): { cert: string; key: string } {
  return {
    cert: encodePem({ label: "CERTIFICATE", der: certificates()[0]! }),
    key: encodePem({ label: "PRIVATE KEY", der: ed25519Key("server") }),
  };
}

/** All of them, made anew. */
export function seeds(): Seeds {
  const ders = certificates();
  const [a, b, c] = ders.map((der) => encodePem({ label: "CERTIFICATE", der })) as [string, string, string];
  const plain = [ed25519Key("server"), rsaKey(), sec1Key(true)] as const;
  const pkcs8Rsa = sequence(integer(0n), sequence(oid("rsa"), NULL), der(0x04, plain[1]));
  const pkcs8Ec = sequence(integer(0n), sequence(oid("ec"), oid("p256")), der(0x04, sec1Key(false)));
  const secret = [
    encrypted(plain[0], "pbkdf2", ["aes256", "aes-256-cbc", 32, 16]),
    encrypted(pkcs8Ec, "scrypt", ["aes128", "aes-128-cbc", 16, 16]),
    encrypted(plain[0], "pbkdf2", ["tripleDes", "des-ede3-cbc", 24, 8]),
  ];
  const keys: [label: string, der: Uint8Array][] = [
    ["PRIVATE KEY", plain[0]],
    ["PRIVATE KEY", pkcs8Rsa],
    ["PRIVATE KEY", pkcs8Ec],
    ["RSA PRIVATE KEY", plain[1]],
    ["EC PRIVATE KEY", plain[2]],
    ...secret.map((der) => ["ENCRYPTED PRIVATE KEY", der] as [string, Uint8Array]),
  ];
  const pems = keys.map(([label, der]) => encodePem({ label, der }));
  const chains = [
    a,
    a + b,
    `# a comment\n${a.replaceAll("\n", "\r\n")}${c}`,
    `\ufeff${b.trimEnd()}`,
    a.replaceAll("\n", "\r"),
  ];
  return {
    pem: bytesOf([...chains, pems[0]! + a, legacyPem(plain[2], "EC PRIVATE KEY")]),
    certificate: ders,
    chain: bytesOf(chains),
    key: keys.map(([label, der]) => Buffer.concat([Buffer.from([KEY_LABELS.indexOf(label)]), der])),
    keyFile: bytesOf([
      ...pems,
      legacyPem(plain[1], "RSA PRIVATE KEY"),
      legacyPem(plain[2], "EC PRIVATE KEY"),
      encodePem({ label: "EC PARAMETERS", der: oid("p256") }) + pems[4],
    ]),
    bundle: bytesOf([
      ...chains,
      a + b + c,
      `${a}-----BEGIN TRUSTED CERTIFICATE-----\nAQID\n-----END TRUSTED CERTIFICATE-----\n${b}`,
    ]),
    crl: [
      ...revocationLists(),
      ...bytesOf([revocationLists().map((der) => encodePem({ label: "X509 CRL", der })).join("# next\n")]),
    ],
    acceptor: [true, false].flatMap((is13) =>
      [[0, 0], [1, 7]].map((manner) => Buffer.concat([Buffer.from(manner), clientHello(is13)]))
    ),
    hello: [true, false].map(clientHello),
  };
}

/** What the first byte of an input for the target `key` chooses from. */
export const KEY_LABELS: readonly string[] = [
  "PRIVATE KEY",
  "RSA PRIVATE KEY",
  "EC PRIVATE KEY",
  "ENCRYPTED PRIVATE KEY",
  "OPENSSH PRIVATE KEY",
];

function bytesOf(texts: readonly string[]): Buffer[] {
  return texts.map((text) => Buffer.from(text));
}
