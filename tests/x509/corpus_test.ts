import { assert, assertEquals } from "@std/assert";
import { createPublicKey, type KeyObject } from "node:crypto";
import process from "node:process";
import test from "node:test";
import { parseCertificates, parsePrivateKey, TlsReloadError } from "../../mod.ts";
import { certificateFiles, type Content, type Corpus, keyFiles, PASSPHRASE } from "../support/file_corpus.ts";
import { askGo, NO_GO } from "../support/go.ts";
import { opensslText } from "../support/openssl.ts";

/** What others read does not depend on the runtime, and that every runtime reads what is wanted is shown on each. */
const NOT_COMPARED = !process.versions["deno"] && "compared with OpenSSL and Go on Deno alone";

/** Others lose these in silence. */
const COMPLETE = "it loses certificates that are plainly there";
const SECOND = "it serves the second certificate";
const ONE_LINE_END = "it knows no line end but LF, and takes the file for one line";
const BLANK = "it ends a body at a blank line; blank lines do not change a body";
const INDENTED = "it knows no indented boundary; a file whose boundaries are all indented can mean only one thing";
const TORN = "a file that is torn or padded is refused, so that the running configuration stays";
const EVERYWHERE = "not every runtime serves TLS with it";
const SILENCE = "one of two would be chosen in silence";
const PEM_ALONE = "it reads PEM alone";
const PLAIN_ALONE = "it decrypts no key";

/** Why another reader reads a file that is refused here, or refuses one that is read here, by what is odd about it. */
type Reasons = Readonly<Record<string, string>>;

/** Of files of both kinds. */
const OPENSSL_FORMS: Reasons = {
  "lone CR": ONE_LINE_END,
  "blank lines in the body": BLANK,
  "indented lines": INDENTED,
  "an indented BEGIN": INDENTED,
  "an indented END": INDENTED,
  "an orphaned END before": TORN,
  "DER with a byte after it": TORN,
  "a NUL after it": TORN,
};
const OPENSSL_CERTIFICATES: Reasons = {
  ...OPENSSL_FORMS,
  "a chain with the first indented": SECOND,
  "a chain with a leaf without END": "it serves the leaf alone",
  "a chain with a broken second": COMPLETE,
  "TRUSTED CERTIFICATE": "its limits of trust would be lost",
  "PKCS#12": "a passphrase belongs to it; the message has the command that converts it",
};
const OPENSSL_KEYS: Reasons = {
  ...OPENSSL_FORMS,
  "SEC1 under RSA PRIVATE KEY": "the content decides; it tries only the label's kind",
  "encrypted with AES-192": "Deno cannot decrypt it; the message has the command that converts it",
  "encrypted with Camellia": "not every runtime can decrypt it; the message has the command that converts it",
  "encrypted with PBES1": "it is weak, and not every runtime can decrypt it; the message has the command",
  "two keys": SILENCE,
  "the same key twice": SILENCE,
  "DSA": EVERYWHERE,
  "P-224": EVERYWHERE,
  "secp256k1": EVERYWHERE,
  "Ed448": EVERYWHERE,
  "RSA-PSS": EVERYWHERE,
  "RSA of 512 bits": "no runtime serves TLS with it",
  "a curve in numbers": "RFC 5480 section 2.1.1 forbids it, and Deno cannot read it; the message has the command",
};

const GO_FORMS: Reasons = {
  "lone CR": ONE_LINE_END,
  "a byte order mark": "it ignores the section after a byte order mark, which editors of Windows write",
  "indented lines": INDENTED,
  "an indented BEGIN": INDENTED,
  "an indented END": INDENTED,
  "DER": PEM_ALONE,
  "an empty section before": TORN,
  "a broken section of another kind before": TORN,
  "an orphaned END before": TORN,
  "a NUL after it": TORN,
};
const GO_CERTIFICATES: Reasons = {
  ...GO_FORMS,
  "a chain with the first indented": SECOND,
  "a chain with a leaf without END": SECOND,
  "a chain with a broken second": COMPLETE,
  "X509 CERTIFICATE": "it does not know this label, which OpenSSL reads (RFC 7468 section 5.1)",
};
/** Of these Go serves the leaf alone. */
const GO_SHORTER_CHAINS: Reasons = {
  "a chain with a byte order mark before the second": COMPLETE,
  "a chain with the second indented": COMPLETE,
};
const GO_KEYS: Reasons = {
  ...GO_FORMS,
  "two spaces before the label": "a label begins with no space (RFC 7468 section 3), and OpenSSL does not read it",
  "PKCS#1 in DER": PEM_ALONE,
  "SEC1 in DER": PEM_ALONE,
  "encrypted": PLAIN_ALONE,
  "encrypted with scrypt": PLAIN_ALONE,
  "encrypted with triple DES": PLAIN_ALONE,
  "encrypted under PRIVATE KEY": PLAIN_ALONE,
  "encrypted in DER": PLAIN_ALONE,
  "encrypted by headers": PLAIN_ALONE,
  "encrypted by headers, RSA": PLAIN_ALONE,
  "two keys": SILENCE,
  "the same key twice": SILENCE,
  "P-224": EVERYWHERE,
};

const certificates = await certificateFiles();
const keys = await keyFiles();

/** The value of an attempt; `undefined` if it is refused. Only errors of ours and of openssl are refusals. */
function outcome<T>(attempt: () => T): T | undefined {
  try {
    return attempt();
  } catch (error) {
    assert(error instanceof TlsReloadError || /^openssl .* failed/.test((error as Error).message), String(error));
    return undefined;
  }
}

const subjectsIn = (text: string) =>
  [...text.matchAll(/^ *subject[:=].*CN ?= ?(\w+)/gim)].map(([, name]) => `CN=${name}`);
const ourSubjects = (file: Content) => parseCertificates(file).map(({ subject }) => subject);
const nameOfKey = (publicKey: string) =>
  Object.entries(keys.publicKeys).find(([, each]) => each === publicKey)?.[0] ?? "a key of no name";
const exported = (key: KeyObject) => String(createPublicKey(key).export({ type: "spki", format: "pem" }));

/** What is odd about the files of which another reader does not read what is wanted. It must not read anything else. */
function differences(files: Corpus, theirs: (content: Content, what: string) => string | undefined): string[] {
  return Object.entries(files).filter(([what, { content, wanted }]) => {
    const answer = theirs(content, what);
    const isOther = answer !== undefined && wanted !== undefined && answer !== wanted;
    assert(!isOther, `${what}: ${answer} is chosen, not ${wanted}`);
    return answer !== wanted;
  }).map(([what]) => what).sort();
}

const reasonsOf = (reasons: Reasons) => Object.keys(reasons).sort();

test("parseCertificates() chooses the leaf of every file that is to be read, and refuses the others", () => {
  assertEquals(differences(certificates.files, (file) => outcome(() => ourSubjects(file)[0])), []);
});

test("parsePrivateKey() chooses the key of every file that is to be read, and refuses the others", () => {
  const ours = (file: Content) => outcome(() => nameOfKey(exported(parsePrivateKey(file, PASSPHRASE))));
  assertEquals(differences(keys.files, ours), []);
});

test("OpenSSL chooses the same leaves, or differs for a reason", { skip: NOT_COMPARED }, () => {
  const theirs = (file: Content) => outcome(() => subjectsIn(opensslText("x509 -in FILE -noout -subject", file))[0]);
  assertEquals(differences(certificates.files, theirs), reasonsOf(OPENSSL_CERTIFICATES));
});

test("OpenSSL finds the same certificates in the same order", { skip: NOT_COMPARED }, () => {
  for (const [what, { content, wanted }] of Object.entries(certificates.files)) {
    if (wanted === undefined) continue;
    const theirs = outcome(() => subjectsIn(opensslText("storeutl -certs -noout -text FILE", content))) ?? [];
    if (theirs.length > 0) assertEquals(ourSubjects(content), theirs, what);
  }
});

test("OpenSSL chooses the same keys, or differs for a reason", { skip: NOT_COMPARED }, () => {
  const command = `pkey -in FILE -pubout -passin pass:${PASSPHRASE} -provider legacy -provider default`;
  const theirs = (file: Content) => outcome(() => nameOfKey(opensslText(command, file)));
  assertEquals(differences(keys.files, theirs), reasonsOf(OPENSSL_KEYS));
});

test("Go chooses the same leaves, chains and keys, or differs for a reason", { skip: NOT_COMPARED || NO_GO }, () => {
  const { Certificates, Keys } = askGo(certificates, keys);
  assertEquals(differences(certificates.files, (_, what) => Certificates[what]?.[0]), reasonsOf(GO_CERTIFICATES));
  assertEquals(differences(keys.files, (_, what) => Keys[what]), reasonsOf(GO_KEYS));
  const shorter = Object.entries(Certificates).filter(([what, subjects]) => {
    const { content, wanted } = certificates.files[what]!;
    return wanted !== undefined && subjects.length < ourSubjects(content).length;
  });
  assertEquals(shorter.map(([what]) => what).sort(), reasonsOf(GO_SHORTER_CHAINS));
});

test("the corpus has more than 120 files", () => {
  const count = Object.keys(certificates.files).length + Object.keys(keys.files).length;
  assert(count > 120, `${count}`);
});
