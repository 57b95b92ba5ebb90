// Files as they are found on real machines, sound and broken, for comparisons with other readers.
import { Buffer } from "node:buffer";
import { encodePem, parsePem } from "../../mod.ts";
import { issueCa, issueServer } from "./certificates.ts";
import { openssl, opensslText } from "./openssl.ts";

/** What a file holds. */
export type Content = string | Uint8Array;

/** A file, and what is to be read from it. */
export interface CorpusFile {
  readonly content: Content;
  /** The subject of the leaf, or the name of the key; `undefined` if the file is to be refused. */
  readonly wanted: string | undefined;
}

/** Files by what is odd about them. */
export type Corpus = Readonly<Record<string, CorpusFile>>;

const readAs = (wanted: string | undefined, contents: Readonly<Record<string, Content>>): Corpus =>
  Object.fromEntries(Object.entries(contents).map(([what, content]) => [what, { content, wanted }]));
const refused = (contents: Readonly<Record<string, Content>>) => readAs(undefined, contents);

const prefixed = (prefix: string, text: string) => text.replaceAll(/^(?=.)/gm, prefix);
const body = (text: string, change: (line: string) => string) => text.replace(/^(?!-)(.+)$/gm, (line) => change(line));
const utf16 = (text: string) => Buffer.from(`\ufeff${text}`, "utf16le");

const labelOf = (pem: string) => /BEGIN (.*)-----/.exec(pem)![1]!;

/** Ways to write the same PEM text that hold for certificates and keys. */
function soundForms(pem: string): Record<string, Content> {
  const label = labelOf(pem);
  return {
    "as it is": pem,
    "CRLF": pem.replaceAll("\n", "\r\n"),
    "lone CR": pem.replaceAll("\n", "\r"),
    "no newline at the end": pem.trimEnd(),
    "a byte order mark": `\ufeff${pem}`,
    "blank lines before": `\n\n\n${pem}`,
    "a blank line after BEGIN": pem.replace("-----\n", "-----\n\n"),
    "blank lines in the body": body(pem, (line) => `${line}\n`),
    "white space at the ends of lines": pem.replaceAll("\n", " \t\n"),
    "indented lines": prefixed("  ", pem),
    "an indented body": body(pem, (line) => `  ${line}`),
    "an indented BEGIN": `  ${pem}`,
    "an indented END": pem.replace("-----END", "  -----END"),
    "one line for the body": pem.replace(/([A-Za-z0-9+/=])\n(?!-)/g, "$1"),
    "lines of 76 characters": encodePem({ label, der: parsePem(pem)[0]!.der }).replace(
      /^(?!-)[^]*?(?=\n-----END)/m,
      (text) => text.replaceAll("\n", "").replace(/.{76}(?=.)/g, "$&\n"),
    ),
    "lines of four characters": body(pem, (line) => line.replace(/.{4}(?=.)/g, "$&\n")),
    "a comment before": `# a comment\n${pem}`,
    "a comment in Latin-1": Buffer.concat([Buffer.from([0x23, 0xe4, 0x0a]), Buffer.from(pem)]),
    "text after": `${pem}the end\n`,
    "Bag Attributes": `Bag Attributes\n    localKeyID: 01 02\nKey Attributes: <No Attributes>\n${pem}`,
    "a commented-out block before": `${prefixed("#", encodePem({ label, der: new Uint8Array(3) }))}${pem}`,
    "a quoted block before": `${prefixed("> ", encodePem({ label, der: new Uint8Array(3) }))}${pem}`,
    "a banner": `--BEGIN--\n${pem}--END--\n`,
    "a banner of four dashes": `---- BEGIN ----\n${pem}---- END ----\n`,
    "a rule of dashes": `${"-".repeat(70)}\n${pem}`,
    "an SSH2 public key before": `---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n${pem}`,
    "a section of another kind before": encodePem({ label: "THING", der: new Uint8Array(30) }) + pem,
    "DER": parsePem(pem)[0]!.der,
  };
}

/** Ways to break it. */
function brokenForms(pem: string): Record<string, Content> {
  const label = labelOf(pem);
  return {
    "UTF-16": utf16(pem),
    "four dashes": pem.replaceAll("-----", "----"),
    "six dashes": pem.replaceAll("-----", "------"),
    "dashes of a word processor": pem.replaceAll("-----", "\u2014\u2014-"),
    "a BEGIN in small letters": pem.replace("BEGIN", "begin"),
    "a label in small letters": pem.replaceAll(label, label.toLowerCase()),
    "two spaces before the label": pem.replaceAll(` ${label}`, `  ${label}`),
    "a space after the dashes": pem.replaceAll("-----BEGIN", "----- BEGIN"),
    "no END": pem.replace(/-----END.*\n/, ""),
    "no BEGIN": pem.replace(/-----BEGIN.*\n/, ""),
    "another label at its END": pem.replace(/END .*-----/, "END THING-----"),
    "an END with text after it": pem.replace(/(-----END.*-----)/, "$1x"),
    "cut off in the body": pem.slice(0, Math.floor(pem.length / 2)),
    "cut off in END": pem.slice(0, pem.lastIndexOf("END") + 2),
    "a body cut off within its section": pem.replace(/\n[^\n]+\n(?=-----END)/, "\n"),
    "a bad character": body(pem, (line) => line).replace(/^(?!-)(.{10})./m, "$1*"),
    "a URL alphabet": pem.replace(/^(?!-).*$/m, (line) => line.replace(/[A-Z]/, "_")),
    "a character too many": pem.replace(/(?=\n-----END)/, "A"),
    "an empty body": pem.replace(/-----\n[^]*\n-----E/, "-----\n-----E"),
    "an empty section before": `-----BEGIN THING-----\n-----END THING-----\n${pem}`,
    "a broken section of another kind before": `-----BEGIN THING-----\n*\n-----END THING-----\n${pem}`,
    "an orphaned END before": `-----END ${label}-----\n${pem}`,
    "newlines as two characters": pem.replaceAll("\n", "\\n"),
    "newlines as spaces": pem.replaceAll("\n", " "),
    "base64 of the whole": Buffer.from(pem).toString("base64"),
    "quotes around it": `"${pem}"`,
    "DER with a byte after it": Buffer.concat([parsePem(pem)[0]!.der, Buffer.of(0)]),
    "DER that is cut off": parsePem(pem)[0]!.der.subarray(0, -5),
    "a NUL after it": `${pem}\0`,
    "nothing": "",
    "text": "hello\n",
  };
}

/** Files with a certificate, or several, and the keys of their leaves. */
export async function certificateFiles(): Promise<{ files: Corpus; keys: readonly string[] }> {
  const ca = await issueCa("ca");
  const { cert, key } = await issueServer("leaf", { issuer: ca });
  const chain = cert + ca.cert;
  const request = opensslText("req -new -key FILE -subj /CN=leaf", key);
  const files = {
    ...readAs("CN=leaf", {
      ...soundForms(cert),
      "a chain": chain,
      "a chain with CRLF": chain.replaceAll("\n", "\r\n"),
      "a chain with comments": `# leaf\n${cert}# ca\n${ca.cert}# end\n`,
      "a chain with mixed line ends": cert.replaceAll("\n", "\r\n") + ca.cert,
      "a chain with a byte order mark before the second": `${cert}\ufeff${ca.cert}`,
      "a chain with the second indented": cert + prefixed("  ", ca.cert),
      "a key before the certificate": key + cert,
      "a key after the certificate": cert + key,
      "X509 CERTIFICATE": cert.replaceAll("CERTIFICATE", "X509 CERTIFICATE"),
      "a request and a certificate": request + cert,
      "version 1": opensslText("x509 -req -in FILE -signkey FILE -days 1", key + request),
    }),
    ...readAs("CN=ca", { "a chain with the first commented out": prefixed("# ", cert) + ca.cert }),
    ...refused({
      ...brokenForms(cert),
      "a chain without a newline between": cert.trimEnd() + ca.cert,
      "a chain with the first indented": prefixed("  ", cert) + ca.cert,
      "a chain with a leaf without END": cert.replace(/-----END.*\n/, "") + ca.cert,
      "a chain with a broken second": cert + ca.cert.replace(/^M/m, "*"),
      "TRUSTED CERTIFICATE": opensslText("x509 -in FILE -trustout -addtrust serverAuth", cert),
      "a label of its own": cert.replaceAll("CERTIFICATE", "MY CERTIFICATE"),
      "a request": request,
      "PKCS#7": opensslText("crl2pkcs7 -nocrl -certfile FILE", cert),
      "PKCS#12": openssl("pkcs12 -export -in FILE -passout pass:", cert + key),
      "a key": key,
    }),
  };
  return { files, keys: [key, ca.key] };
}

/** The passphrase of encrypted keys. */
export const PASSPHRASE = "corpus";

/** Files with a private key, or several, and the public keys by their names. */
export async function keyFiles(): Promise<{ files: Corpus; publicKeys: Readonly<Record<string, string>> }> {
  const { cert, key } = await issueServer("leaf");
  const generated = (algorithm: string) => opensslText(`genpkey -algorithm ${algorithm}`);
  const rsa = generated("RSA -pkeyopt rsa_keygen_bits:2048");
  const ed25519 = generated("ED25519");
  const p224 = generated("EC -pkeyopt ec_paramgen_curve:P-224");
  const sec1 = opensslText("ec -in FILE", key);
  const pkcs1 = opensslText("rsa -in FILE -traditional", rsa);
  const pkcs8 = (options: string) =>
    opensslText(
      `pkcs8 -topk8 -in FILE -passout pass:${PASSPHRASE} ${options} -provider legacy -provider default`,
      key,
    );
  const encrypted = pkcs8("");
  const relabelled = (pem: string, label: string) => encodePem({ label, der: parsePem(pem)[0]!.der });
  const files = {
    ...readAs("EC", {
      ...soundForms(key),
      "SEC1": sec1,
      "SEC1 after EC PARAMETERS": opensslText("ecparam -name prime256v1") + sec1,
      "SEC1 without its public key": opensslText("ec -in FILE -no_public", key),
      "PKCS#8 under EC PRIVATE KEY": relabelled(key, "EC PRIVATE KEY"),
      "SEC1 under PRIVATE KEY": relabelled(sec1, "PRIVATE KEY"),
      "SEC1 under RSA PRIVATE KEY": relabelled(sec1, "RSA PRIVATE KEY"),
      "SEC1 in DER": parsePem(sec1)[0]!.der,
      "encrypted": encrypted,
      "encrypted with scrypt": pkcs8("-scrypt"),
      "encrypted with triple DES": pkcs8("-v2 des3"),
      "encrypted under PRIVATE KEY": relabelled(encrypted, "PRIVATE KEY"),
      "encrypted in DER": parsePem(encrypted)[0]!.der,
      "encrypted by headers": opensslText(`ec -in FILE -aes256 -passout pass:${PASSPHRASE}`, key),
      "a certificate before the key": cert + key,
      "a certificate after the key": key + cert,
      "a key after a commented-out one": prefixed("#", rsa) + key,
    }),
    ...readAs("RSA", {
      "RSA": rsa,
      "RSA in PKCS#1": pkcs1,
      "PKCS#8 under RSA PRIVATE KEY": relabelled(rsa, "RSA PRIVATE KEY"),
      "an RSA key under EC PRIVATE KEY": relabelled(rsa, "EC PRIVATE KEY"),
      "PKCS#1 under PRIVATE KEY": relabelled(pkcs1, "PRIVATE KEY"),
      "PKCS#1 in DER": parsePem(pkcs1)[0]!.der,
      "encrypted by headers, RSA": opensslText(
        `rsa -in FILE -traditional -aes128 -passout pass:${PASSPHRASE}`,
        rsa,
      ),
    }),
    ...readAs("Ed25519", { "Ed25519": ed25519 }),
    ...refused({
      ...brokenForms(key),
      "encrypted with AES-192": pkcs8("-v2 aes-192-cbc"),
      "encrypted with Camellia": pkcs8("-v2 camellia-256-cbc"),
      "encrypted with PBES1": pkcs8("-v1 PBE-SHA1-3DES"),
      "two keys": key + rsa,
      "the same key twice": key + key,
      "DSA": opensslText("gendsa FILE", openssl("dsaparam 1024")),
      "P-224": p224,
      "secp256k1": generated("EC -pkeyopt ec_paramgen_curve:secp256k1"),
      "Ed448": generated("ED448"),
      "RSA-PSS": generated("RSA-PSS -pkeyopt rsa_keygen_bits:1024"),
      "RSA of 512 bits": opensslText("genrsa 512"),
      "a curve in numbers": generated("EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit"),
      "a public key": publicKeyOf(key),
      "a certificate": cert,
    }),
  };
  const owners = { "EC": key, "RSA": rsa, "Ed25519": ed25519, "P-224": p224 };
  return {
    files,
    publicKeys: Object.fromEntries(Object.entries(owners).map(([name, pem]) => [name, publicKeyOf(pem)])),
  };
}

function publicKeyOf(key: string): string {
  return opensslText("pkey -in FILE -pubout", key);
}
