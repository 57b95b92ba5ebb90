import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { createCipheriv, createHash, createPublicKey } from "node:crypto";
import test from "node:test";
import { encodePem, parsePem, parsePrivateKey, proveTlsConfig, TlsConfig, TlsReloadError } from "../../mod.ts";
import { contentOf, DerTag, encodeDer, readChildren, readDer } from "../../src/x509/der.ts";
import { issueServer } from "../support/certificates.ts";
import { openssl, opensslText } from "../support/openssl.ts";
import { assertRefused } from "../support/refusals.ts";
import { assertHidesSecrets, secret, secretKey } from "../support/secrets.ts";

const PASSPHRASE = secret("correct-horse-battery-staple");
const rsa = once(() => generate("RSA -pkeyopt rsa_keygen_bits:2048"));
const p256 = once(() => generate("EC -pkeyopt ec_paramgen_curve:P-256"));
const ed25519 = once(() => generate("ED25519"));

/** Nothing is made before a test asks for it: Deno ignores what a test file throws outside of its tests. */
function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

function generate(algorithm: string): string {
  return opensslText(`genpkey -algorithm ${algorithm}`);
}

/** The public half, by which keys are compared: OpenSSL's reading of a file, and ours. */
function opensslPublicKey(pem: string): string {
  return opensslText(`pkey -in FILE -pubout -passin pass:${PASSPHRASE} -provider legacy -provider default`, pem);
}

function publicKey(pem: string, passphrase?: string): string {
  const key = parsePrivateKey(pem, passphrase);
  assertHidesSecrets(key);
  return String(createPublicKey(key).export({ type: "spki", format: "pem" }));
}

const PLAIN: Record<string, () => string> = {
  "RSA in PKCS#8": rsa,
  "RSA in PKCS#1": () => opensslText("rsa -in FILE -traditional", rsa()),
  "RSA of 3072 bits": once(() => generate("RSA -pkeyopt rsa_keygen_bits:3072")),
  "P-256 in PKCS#8": p256,
  "P-256 in SEC1": () => opensslText("ec -in FILE", p256()),
  "P-256 in SEC1 after EC PARAMETERS": once(() => opensslText("ecparam -name prime256v1 -genkey")),
  "P-256 in SEC1 without its public key": () => opensslText("ec -in FILE -no_public", p256()),
  "P-384": once(() => generate("EC -pkeyopt ec_paramgen_curve:P-384")),
  "P-384 in SEC1 after EC PARAMETERS": once(() => opensslText("ecparam -name secp384r1 -genkey")),
  "P-521": once(() => generate("EC -pkeyopt ec_paramgen_curve:P-521")),
  "P-521 in SEC1 after EC PARAMETERS": once(() => opensslText("ecparam -name secp521r1 -genkey")),
  "Ed25519": ed25519,
};

for (const [what, make] of Object.entries(PLAIN)) {
  test(`parsePrivateKey() reads ${what}`, () => {
    const pem = make();
    secretKey(pem.slice(pem.search(/-----BEGIN (RSA |EC )?PRIVATE KEY/)));
    assertEquals(publicKey(pem), opensslPublicKey(pem));
    assertEquals(publicKey(pem, "a passphrase that is not needed"), opensslPublicKey(pem));
  });
}

/** A key of RFC 5958 section 2, as `ring` and `rcgen` write it: with the public key behind it. */
function withPublicKey(pem: string, behind: (point: Uint8Array) => Uint8Array): string {
  const [, algorithm, key] = readChildren(readDer(derOf(pem))[0]);
  const spki = createPublicKey(pem).export({ type: "spki", format: "der" });
  const point = contentOf(readChildren(readDer(spki)[0])[1], 0x03);
  const content = [encodeDer(DerTag.integer, Buffer.of(1)), algorithm!.encoded, key!.encoded, behind(point)];
  return encodePem({ label: "PRIVATE KEY", der: encodeDer(DerTag.sequence, Buffer.concat(content)) });
}

const ATTRIBUTES = Buffer.from("a00d300b0603551d0f310403020780", "hex");
const BEHIND: Record<string, (point: Uint8Array) => Uint8Array> = {
  "its public key": (point) => encodeDer(0x81, point),
  "its public key in a tag of its own": (point) => encodeDer(0xa1, encodeDer(0x03, point)),
  "attributes and its public key": (point) => Buffer.concat([ATTRIBUTES, encodeDer(0x81, point)]),
};

for (const [what, behind] of Object.entries(BEHIND)) {
  test(`parsePrivateKey() reads PKCS#8 with ${what}, and it serves`, async () => {
    for (const algorithm of ["Ed25519", "P-256"] as const) {
      const issued = await issueServer("with public key", { algorithm });
      const key = secretKey(issued.key) && withPublicKey(issued.key, behind);
      assertEquals(publicKey(key), opensslPublicKey(issued.key));
      await proveTlsConfig(new TlsConfig({ cert: issued.cert, key }));
    }
  });
}

test("parsePrivateKey() ignores sections that are not keys", async () => {
  const { cert, key } = await issueServer("both");
  assertEquals(publicKey(`Bag Attributes\n${cert}\n${key.replaceAll("\n", "\r\n")}`), opensslPublicKey(key));
});

/** A key that OpenSSL has encrypted as PKCS#8. */
function pkcs8(options: string, key = p256): () => string {
  return once(() => opensslText(`pkcs8 -topk8 ${options} -in FILE -passout pass:${PASSPHRASE}`, key()));
}

/** A key that OpenSSL has encrypted in the way of old, with headers. */
function legacy(cipher: string, key = p256): () => string {
  const tool = key === rsa ? "rsa -traditional" : "ec";
  return once(() => opensslText(`${tool} -in FILE -${cipher} -passout pass:${PASSPHRASE}`, key()));
}

const ENCRYPTED: Record<string, () => string> = {
  "PKCS#8 as OpenSSL 3 writes it": pkcs8(""),
  "PKCS#8 with AES-256 and SHA-1, as OpenSSL 1.0 wrote it": pkcs8("-v2 aes-256-cbc -v2prf hmacWithSHA1 -iter 1"),
  "PKCS#8 with AES-128": pkcs8("-v2 aes-128-cbc -iter 1"),
  "PKCS#8 with triple DES": pkcs8("-v2 des3 -iter 1"),
  "PKCS#8 with SHA-384": pkcs8("-v2 aes-256-cbc -v2prf hmacWithSHA384 -iter 1"),
  "PKCS#8 with SHA-512": pkcs8("-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 1"),
  "PKCS#8 with scrypt": pkcs8("-scrypt"),
  "PKCS#8 of an RSA key": pkcs8("-iter 1", rsa),
  "PKCS#8 of an Ed25519 key": pkcs8("-iter 1", ed25519),
  "Proc-Type with AES-128": legacy("aes128", rsa),
  "Proc-Type with AES-256": legacy("aes256"),
  "Proc-Type with triple DES": legacy("des3"),
};

for (const [what, make] of Object.entries(ENCRYPTED)) {
  test(`parsePrivateKey() decrypts ${what}`, () => {
    assertEquals(publicKey(secret(make()), PASSPHRASE), opensslPublicKey(make()));
  });

  test(`parsePrivateKey() asks for the passphrase of ${what}`, async () => {
    const message = /: it is encrypted and no passphrase was given$/;
    await assertRefused(() => parsePrivateKey(make()), "KEY_ENCRYPTED", { line: 1, message });
  });

  // One wrong passphrase in 256 decrypts to something whose padding is right; the runtimes call that by other names.
  test(`parsePrivateKey() reports every wrong passphrase of ${what} as PASSPHRASE_WRONG`, async () => {
    const message = /: the passphrase does not decrypt it$/;
    const wrong = Array.from({ length: what.includes("scrypt") ? 20 : 400 }, (_, index) => PASSPHRASE + index);
    for (const passphrase of wrong) {
      const error = assertThrows(() => parsePrivateKey(make(), passphrase), TlsReloadError);
      assertEquals([error.code, error.line], ["PASSPHRASE_WRONG", 1]);
    }
    for (const passphrase of ["", "wrong", PASSPHRASE.toUpperCase(), "x".repeat(10_000)]) {
      await assertRefused(() => parsePrivateKey(make(), passphrase), "PASSPHRASE_WRONG", { line: 1, message });
    }
  });
}

test("parsePrivateKey() reads a key that bytes follow, as OpenSSL does", () => {
  for (const make of [ed25519, p256, PLAIN["P-256 in SEC1"]!, PLAIN["RSA in PKCS#1"]!]) {
    for (const after of [[0x30], [5, 0]]) {
      const pem = encodePem({ label: "PRIVATE KEY", der: new Uint8Array([...derOf(make()), ...after]) });
      assertEquals(publicKey(pem), opensslPublicKey(make()));
    }
  }
});

const LABELS = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "ANY PRIVATE KEY"];

for (const [what, make] of Object.entries({ ...PLAIN, "P-256 that is encrypted": () => pkcs8("-iter 1")() })) {
  test(`parsePrivateKey() reads ${what} under any label, and in DER`, () => {
    const expected = opensslPublicKey(make());
    const section = parsePem(make()).find(({ label }) => label.endsWith("PRIVATE KEY"))!;
    for (const label of LABELS) {
      assertEquals(publicKey(encodePem({ ...section, label }), PASSPHRASE), expected, label);
    }
    const fromDer = parsePrivateKey(section.der, PASSPHRASE);
    assertEquals(String(createPublicKey(fromDer).export({ type: "spki", format: "pem" })), expected);
  });
}

test("parsePrivateKey() reads PKCS#8 that a Proc-Type header encrypts", () => {
  const [, headers] = /\n(Proc-Type[^]*?)\n\n/.exec(legacy("aes256")())!;
  const encrypt = (der: Uint8Array) => {
    const iv = Buffer.from(/,([0-9A-F]+)/.exec(headers!.split("\n")[1]!)![1]!, "hex");
    let key = Buffer.alloc(0) as Buffer;
    let block = key;
    while (key.length < 32) {
      block = createHash("md5").update(block).update(PASSPHRASE).update(iv.subarray(0, 8)).digest();
      key = Buffer.concat([key, block]);
    }
    const cipher = createCipheriv("aes-256-cbc", key, iv);
    return Buffer.concat([cipher.update(der), cipher.final()]);
  };
  const pem = encodePem({ label: "EC PRIVATE KEY", headers: headers!.split("\n"), der: encrypt(derOf(p256())) });
  assertEquals(publicKey(pem, PASSPHRASE), opensslPublicKey(p256()));
});

const CURVES = {
  "P-256": ["06082a8648ce3d030107", 32, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"],
  "P-384": [
    "06052b81040022",
    48,
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
  ],
  "P-521": [
    "06052b81040023",
    66,
    "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
  ],
} as const;

/** An EC key of a scalar, in SEC1 and in PKCS#8 with and without the curve in both places. */
function ecKeys(curve: keyof typeof CURVES, scalar: Uint8Array): string[] {
  const oid = Buffer.from(CURVES[curve][0], "hex");
  const parts = [encodeDer(DerTag.integer, Buffer.of(1)), encodeDer(DerTag.octetString, scalar)];
  const short = encodeDer(DerTag.sequence, Buffer.concat(parts));
  const long = encodeDer(DerTag.sequence, Buffer.concat([...parts, encodeDer(0xa0, oid)]));
  const algorithm = encodeDer(DerTag.sequence, Buffer.concat([Buffer.from("06072a8648ce3d0201", "hex"), oid]));
  const pkcs8 = [short, long].map((key) => {
    const content = [encodeDer(DerTag.integer, Buffer.of(0)), algorithm, encodeDer(DerTag.octetString, key)];
    return encodePem({ label: "PRIVATE KEY", der: encodeDer(DerTag.sequence, Buffer.concat(content)) });
  });
  return [...pkcs8, encodePem({ label: "EC PRIVATE KEY", der: long })];
}

for (const [curve, [, size, order]] of Object.entries(CURVES) as [keyof typeof CURVES, [string, number, string]][]) {
  const number = (offset: bigint) =>
    Buffer.from((BigInt(`0x${order}`) + offset).toString(16).padStart(2 * size, "0"), "hex");
  const range = /: its EC scalar is not between zero and the order of its curve$/;
  const longer = /: its EC scalar is longer than its curve \(RFC 5915 section 3\)$/;
  const bad: Record<string, [scalar: Uint8Array, message: RegExp]> = {
    "is one byte longer": [Buffer.alloc(size + 1, 0xff), longer],
    "has a leading zero too many": [Buffer.concat([Buffer.of(0), number(-1n)]), longer],
    "is a kilobyte": [Buffer.alloc(1024, 1), longer],
    "is zero": [Buffer.alloc(size), range],
    "is empty": [new Uint8Array(), range],
    "is the order": [number(0n), range],
    "is above the order": [number(1n), range],
    "is all ones": [Buffer.alloc(size, 0xff), range],
  };
  for (const [what, [scalar, message]] of Object.entries(bad)) {
    test(`parsePrivateKey() refuses a ${curve} key whose scalar ${what}`, async () => {
      for (const pem of ecKeys(curve, scalar)) {
        await assertRefused(() => parsePrivateKey(pem), "KEY_UNSUPPORTED", { line: 1, message });
        await assertRefused(() => parsePrivateKey(derOf(pem)), "KEY_UNSUPPORTED", { message });
      }
    });
  }

  test(`parsePrivateKey() reads the smallest and the largest scalar of ${curve}, and one without leading zeros`, () => {
    for (const scalar of [Buffer.concat([Buffer.alloc(size - 1), Buffer.of(1)]), Buffer.of(1), number(-1n)]) {
      const padded = Buffer.concat([Buffer.alloc(size - scalar.length), scalar]);
      const expected = opensslPublicKey(ecKeys(curve, padded)[0]!);
      for (const pem of ecKeys(curve, scalar)) assertEquals(publicKey(pem), expected);
    }
  });
}

test("parsePrivateKey() refuses RSA keys of sizes that no runtime serves, and names size and minimum", async () => {
  const key = secret(opensslText("genrsa 512"));
  const message = /: RSA keys need 2048 bits to serve TLS on every runtime: 512$/;
  await assertRefused(() => parsePrivateKey(key), "KEY_UNSUPPORTED", { line: 1, message });
  const numbers = readChildren(readDer(derOf(PLAIN["RSA in PKCS#1"]!()))[0]).map(({ encoded }) => encoded);
  const rsaOf = (modulus: Uint8Array) => {
    const content = Buffer.concat([numbers[0]!, encodeDer(DerTag.integer, modulus), ...numbers.slice(2)]);
    return encodePem({ label: "RSA PRIVATE KEY", der: encodeDer(DerTag.sequence, content) });
  };
  for (
    const [modulus, bits] of [[Buffer.alloc(2049, 0x7f), 16391], [Buffer.of(0), 0], [Buffer.of(0, 0x80), 8]] as const
  ) {
    const message = new RegExp(`: RSA keys .*: ${bits}$`);
    await assertRefused(() => parsePrivateKey(rsaOf(modulus)), "KEY_UNSUPPORTED", { line: 1, message });
  }
});

test("parsePrivateKey() refuses RSA keys of three primes", async () => {
  const key = secret(opensslText("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_primes:3"));
  const message = /: it is an RSA key of more than two primes$/;
  await assertRefused(() => parsePrivateKey(key), "KEY_UNSUPPORTED", { line: 1, message });
});

test("parsePrivateKey() refuses an EC key that spells its curve out, with the command that names it", async () => {
  const key = opensslText("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit");
  const sec1 = opensslText("ec -in FILE", key);
  for (const pem of [key, sec1]) {
    const message = /: an EC key must name its curve \(RFC 5480 section 2\.1\.1\); convert it with: openssl /;
    const error = await assertRefused(() => parsePrivateKey(pem), "KEY_UNSUPPORTED", { line: 1, message });
    const [, command] = / with: openssl (.*)$/.exec(error.message) ?? [];
    assertEquals(
      publicKey(opensslText(command!, pem)),
      publicKey(opensslText("ec -in FILE -param_enc named_curve", pem)),
    );
  }
});

test("parsePrivateKey() takes a passphrase in UTF-8", () => {
  const passphrase = "Zürich-株式会社-🔑";
  const pem = opensslText(["pkcs8", "-topk8", "-in", "FILE", "-passout", `pass:${passphrase}`], p256());
  assertEquals(publicKey(pem, passphrase), opensslPublicKey(p256()));
});

const UNKNOWN_ENCRYPTIONS: Record<string, () => string> = {
  "PBES1 with triple DES": pkcs8("-v1 PBE-SHA1-3DES"),
  "PBES1 with RC2": pkcs8("-v1 PBE-SHA1-RC2-40 -provider legacy -provider default"),
  "PBES1 with DES": pkcs8("-v1 PBE-MD5-DES -provider legacy -provider default"),
  "PBES2 with DES": pkcs8("-v2 des -provider legacy -provider default"),
  "Proc-Type with DES": legacy("des -provider legacy -provider default"),
  "Camellia": pkcs8("-v2 camellia-256-cbc"),
  "AES-192, which Deno does not have": pkcs8("-v2 aes-192-cbc"),
  "Proc-Type with Camellia": legacy("camellia256", rsa),
};

for (const [what, make] of Object.entries(UNKNOWN_ENCRYPTIONS)) {
  test(`parsePrivateKey() refuses ${what}, with the command that converts it`, async () => {
    const pem = secret(make());
    const message = /: its encryption is not supported; convert it with: openssl pkcs8 -topk8 /;
    await assertRefused(() => parsePrivateKey(pem, "wrong"), "KEY_UNSUPPORTED", { line: 1, message });
    const error = await assertRefused(() => parsePrivateKey(pem, PASSPHRASE), "KEY_UNSUPPORTED", { line: 1, message });
    const [, command] = / with: openssl (.*)$/.exec(error.message) ?? [];
    const converted = opensslText(`${command} -passin pass:${PASSPHRASE} -passout pass:${PASSPHRASE}`, pem);
    assertEquals(publicKey(converted, PASSPHRASE), opensslPublicKey(pem));
  });
}

test("parsePrivateKey() refuses an encrypted key with a missing, a broken, or 100,000 DEK-Info headers", async () => {
  for (const headers of ["", "DEK-Info: x\n".repeat(100_000), "DEK-Info: AES-256-CBC,00\n", "DEK-Info: ,\n"]) {
    const pem = legacy("aes256")().replace(/^DEK-Info.*\n/m, headers);
    await assertRefused(() => parsePrivateKey(pem, PASSPHRASE), "KEY_UNSUPPORTED", { line: 1 });
  }
});

/** An encrypted key in PKCS#8 that nobody has encrypted, in the language of `openssl asn1parse`. */
function pkcs8Of(derivation: string, parameters: readonly string[], cipher = "aes-256-cbc"): string {
  const octets = (length: number) => `FORMAT:HEX,OCTETSTRING:${"00".repeat(length)}`;
  const der = openssl(
    "asn1parse -genconf CONFIG -noout -out FILE.pem",
    "",
    `asn1 = SEQUENCE:info
    [info]
    algorithm = SEQUENCE:algorithm
    data = ${octets(64)}
    [algorithm]
    id = OID:PBES2
    parameters = SEQUENCE:scheme
    [scheme]
    derivation = SEQUENCE:derivation
    encryption = SEQUENCE:encryption
    [derivation]
    id = OID:${derivation}
    parameters = SEQUENCE:parameters
    [parameters]
    salt = ${octets(8)}
    ${parameters.map((value, index) => `p${index} = ${value}`).join("\n")}
    [encryption]
    id = OID:${cipher}
    iv = ${octets(16)}`,
  );
  return encodePem({ label: "ENCRYPTED PRIVATE KEY", der });
}

const integers = (...numbers: number[]) => numbers.map((number) => `INTEGER:${number}`);
const HOSTILE: Record<string, readonly [pem: () => string, cause: RegExp]> = {
  "iterations that would never end": [() => pkcs8Of("PBKDF2", integers(2_147_483_647)), /takes 2147483647 iterations/],
  "no iterations": [() => pkcs8Of("PBKDF2", integers(0)), /./],
  "less than none": [() => pkcs8Of("PBKDF2", integers(-1)), /./],
  "no number of iterations": [() => pkcs8Of("PBKDF2", []), /./],
  "scrypt of 16 GiB": [() => pkcs8Of("id-scrypt", integers(16_777_216, 8, 1)), /takes scrypt 16777216 8 1/],
  "scrypt that would never end": [
    () => pkcs8Of("id-scrypt", integers(1024, 1, 1_000_000)),
    /takes scrypt 1024 1 1000000/,
  ],
  "scrypt of no size": [() => pkcs8Of("id-scrypt", integers(0, 0, 0)), /./],
  "scrypt of three": [() => pkcs8Of("id-scrypt", integers(3, 1, 1)), /./],
  "an unknown derivation": [() => pkcs8Of("1.2.3", integers(1)), /the key derivation is 1\.2\.3/],
  "an unknown cipher": [() => pkcs8Of("PBKDF2", integers(1), "1.2.3"), /the cipher is 1\.2\.3/],
  "an unknown hash": [
    () => pkcs8Of("PBKDF2", [...integers(1), "SEQUENCE:encryption"]),
    /the hash is 2\.16\.840\.1\.101\.3\.4\.1\.42/,
  ],
};

for (const [what, [make, cause]] of Object.entries(HOSTILE)) {
  test(`parsePrivateKey() refuses an encryption with ${what}`, async () => {
    const error = await assertRefused(() => parsePrivateKey(make(), PASSPHRASE), "KEY_UNSUPPORTED", { line: 1 });
    assertMatch(String(error.cause), cause);
  });
}

const kinds = /only RSA, P-256, P-384, P-521 and Ed25519 keys serve TLS on every runtime: [A-Za-z0-9-]+$/;
const UNKNOWN_KINDS: Record<string, readonly [make: () => string, message: RegExp]> = {
  "DSA": [() => secret(opensslText("gendsa FILE", openssl("dsaparam 1024"))), kinds],
  "DSA in its own section": [
    () => secret(opensslText("dsa -in FILE", opensslText("gendsa FILE", openssl("dsaparam 1024")))),
    /serve TLS on every runtime: DSA$/,
  ],
  "a label of its own": [() => sectionOf("MY PRIVATE KEY"), /: a key of this label is not known: "MY PRIVATE KEY"$/],
  "OpenSSH": [
    () => encodePem({ label: "OPENSSH PRIVATE KEY", der: Buffer.from("openssh-key-v1\0\0\0\0\x04none") }),
    /convert it with: ssh-keygen -p -m PKCS8 -f FILE$/,
  ],
  "secp256k1": [() => secretOf("EC -pkeyopt ec_paramgen_curve:secp256k1"), kinds],
  "secp256k1 in SEC1": [() => secret(opensslText("ecparam -name secp256k1 -genkey -noout")), kinds],
  "brainpoolP256r1": [() => secretOf("EC -pkeyopt ec_paramgen_curve:brainpoolP256r1"), kinds],
  "P-224": [() => secretOf("EC -pkeyopt ec_paramgen_curve:P-224"), kinds],
  "X25519": [() => secretOf("X25519"), kinds],
  "X448": [() => secretOf("X448"), kinds],
  "Ed448": [() => secretOf("ED448"), kinds],
  "RSA-PSS": [() => secretOf("RSA-PSS -pkeyopt rsa_keygen_bits:2048"), kinds],
  "a key that is damaged": [
    () => encodePem({ label: "PRIVATE KEY", der: derOf(secretKey(p256())).subarray(0, 60) }),
    /: it is damaged, or not a private key$/,
  ],
  "a key that is a certificate": [() => sectionOf("PRIVATE KEY"), /: it is damaged, or not a private key$/],
};

function secretOf(algorithm: string): string {
  return secret(generate(algorithm));
}

function derOf(pem: string): Uint8Array {
  return parsePem(pem)[0]!.der;
}

function sectionOf(label: string): string {
  return encodePem({ label, der: openssl("req -x509 -key FILE -subj /CN=x -outform der", p256()) });
}

for (const [what, [make, message]] of Object.entries(UNKNOWN_KINDS)) {
  test(`parsePrivateKey() refuses ${what}`, async () => {
    const pem = make();
    await assertRefused(() => parsePrivateKey(pem), "KEY_UNSUPPORTED", { line: 1, message });
    const encrypted = encodePem({ label: "ENCRYPTED PRIVATE KEY", der: derOf(pem) });
    await assertRefused(() => parsePrivateKey(encrypted, PASSPHRASE), "KEY_UNSUPPORTED", { line: 1 });
  });
}

test("parsePrivateKey() names the sections of a file without a key", async () => {
  const { cert } = await issueServer("none");
  const file = { path: "chain.pem", bytes: Buffer.from(cert + cert) };
  const message = /^Cannot find a private key in "chain\.pem": it holds "CERTIFICATE"$/;
  await assertRefused(() => parsePrivateKey(file), "NO_PRIVATE_KEY", { path: "chain.pem", message });
  await assertRefused(() => parsePrivateKey(""), "NO_PRIVATE_KEY", { message: /: it holds no PEM$/ });
  const publicKey = opensslPublicKey(p256());
  await assertRefused(() => parsePrivateKey(publicKey), "NO_PRIVATE_KEY", { message: /: it holds "PUBLIC KEY"$/ });
});

test("parsePrivateKey() refuses two keys, and names their lines", async () => {
  const file = { path: "keys.pem", bytes: Buffer.from(`\n${p256()}${rsa()}`) };
  const message = /^Cannot read private key in "keys\.pem" at line 2: another one begins at line 7$/;
  await assertRefused(() => parsePrivateKey(file), "MULTIPLE_PRIVATE_KEYS", { path: "keys.pem", line: 2, message });
  await assertRefused(() => parsePrivateKey(p256() + sectionOf("OPENSSH PRIVATE KEY")), "MULTIPLE_PRIVATE_KEYS", {
    line: 1,
  });
});

test("parsePrivateKey() throws only TlsReloadError for a key with changed bytes", async () => {
  const edit = fc.tuple(fc.nat(1200), fc.nat(4), fc.uint8Array({ maxLength: 6 }));
  const plain = [p256(), ed25519(), PLAIN["P-256 in SEC1"]!(), PLAIN["RSA in PKCS#1"]!()].map(secretKey);
  const source = fc.constantFrom(...plain, ENCRYPTED["PKCS#8 with AES-128"]!()).map((pem) => parsePem(pem)[0]!);
  await fc.assert(
    fc.asyncProperty(source, fc.array(edit, { minLength: 1, maxLength: 3 }), async (section, edits) => {
      const der = edits.reduce<Uint8Array>((bytes, [at, gone, put]) => {
        const start = at % bytes.length;
        return Buffer.concat([bytes.subarray(0, start), put, bytes.subarray(start + gone)]);
      }, section.der);
      const text = encodePem({ ...section, der });
      try {
        parsePrivateKey(text, PASSPHRASE);
      } catch (error) {
        const { code } = error as { code: string };
        assert(["KEY_UNSUPPORTED", "PASSPHRASE_WRONG"].includes(code), String(error));
        await assertRefused(() => parsePrivateKey(text, PASSPHRASE), code as "KEY_UNSUPPORTED", { line: 1 });
      }
    }),
    { seed: 1, numRuns: 200 },
  );
});
