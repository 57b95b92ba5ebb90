import { assert, assertEquals } from "@std/assert";
import { createPublicKey } from "node:crypto";
import test from "node:test";
import { parseCertificates, parsePrivateKey, TlsReloadError } from "../../mod.ts";
import { certificateFiles, type Corpus, keyFiles } from "../support/file_corpus.ts";
import { opensslText } from "../support/openssl.ts";

/** OpenSSL loses these, or all that follows them, in silence; the whole file is read, and handed on as clean PEM. */
const COMPLETE = "OpenSSL loses certificates that are plainly there";
const ONE_LINE_END = "OpenSSL knows no line end but LF, and takes the file for one line";
const BLANK = "OpenSSL ends a body at a blank line; blank lines do not change a body";
const INDENTED = "OpenSSL knows no indented boundary; a file whose boundaries are all indented can mean only one thing";
const TORN = "a file that is torn or padded is refused, so that the running configuration stays";
const EVERYWHERE = "not every runtime serves TLS with it";
const SILENCE = "one of two would be chosen in silence";

/** Files of both kinds that only OpenSSL or only this module reads, with the reason. */
const PEM_DIFFERENCES: Readonly<Record<string, string>> = {
  "lone CR": ONE_LINE_END,
  "blank lines in the body": BLANK,
  "indented lines": INDENTED,
  "an indented BEGIN": INDENTED,
  "an indented END": INDENTED,
  "an orphaned END before": TORN,
  "DER with a byte after it": TORN,
  "a NUL after it": TORN,
};
/** Further files that only OpenSSL or only this module reads. */
const CERTIFICATE_DIFFERENCES: Readonly<Record<string, string>> = {
  ...PEM_DIFFERENCES,
  "a chain with the first indented": "OpenSSL serves the second certificate",
  "a chain with a leaf without END": "OpenSSL serves the leaf alone",
  "a chain with a broken second": COMPLETE,
  "TRUSTED CERTIFICATE": "its limits of trust would be lost",
  "PKCS#12": "a passphrase belongs to it; the message has the command that converts it",
};
const KEY_DIFFERENCES: Readonly<Record<string, string>> = {
  ...PEM_DIFFERENCES,
  "SEC1 under RSA PRIVATE KEY": "the content decides; OpenSSL tries only the label's kind",
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

/** The value of an attempt; `undefined` if it is refused. Only errors of ours and of openssl are refusals. */
function outcome<T>(attempt: () => T): T | undefined {
  try {
    return attempt();
  } catch (error) {
    assert(error instanceof TlsReloadError || /^openssl .* failed/.test((error as Error).message), String(error));
    return undefined;
  }
}

const subjects = (text: string) =>
  [...text.matchAll(/^ *subject[:=].*CN ?= ?(\w+)/gim)].map(([, name]) => `CN=${name}`);

/** Compares all files of a corpus, and finds those that only one of the two reads. */
function differences<T>(
  files: Corpus,
  theirs: (file: string | Uint8Array) => T,
  ours: (file: string | Uint8Array) => T,
) {
  const differing: string[] = [];
  for (const [what, file] of Object.entries(files)) {
    const [wanted, got] = [outcome(() => theirs(file)), outcome(() => ours(file))];
    if ((wanted === undefined) !== (got === undefined)) differing.push(what);
    else assertEquals(got, wanted, what);
  }
  return differing.sort();
}

test("parseCertificates() chooses the leaf of OpenSSL, or refuses the file for a reason", async () => {
  const files = await certificateFiles();
  const theirs = (file: string | Uint8Array) => subjects(opensslText("x509 -in FILE -noout -subject", file))[0];
  const differing = differences(files, theirs, (file) => parseCertificates(file)[0]!.subject);
  assertEquals(differing, Object.keys(CERTIFICATE_DIFFERENCES).sort());
});

test("parseCertificates() finds every certificate that OpenSSL finds, in the same order", async () => {
  for (const [what, file] of Object.entries(await certificateFiles())) {
    const ours = outcome(() => parseCertificates(file).map(({ subject }) => subject));
    const theirs = outcome(() => subjects(opensslText("storeutl -certs -noout -text FILE", file)));
    if (ours && theirs && theirs.length > 0) assertEquals(ours, theirs, what);
  }
});

test("parsePrivateKey() chooses the key of OpenSSL, or refuses the file for a reason", async () => {
  const files = await keyFiles();
  const pkey = "pkey -in FILE -pubout -passin pass:corpus -provider legacy -provider default";
  const ours = (file: string | Uint8Array) =>
    String(createPublicKey(parsePrivateKey(file, "corpus")).export({ type: "spki", format: "pem" }));
  const differing = differences(files, (file) => opensslText(pkey, file), ours);
  assertEquals(differing, Object.keys(KEY_DIFFERENCES).sort());
});

test("the corpus has more than 120 files", async () => {
  const count = Object.keys(await certificateFiles()).length + Object.keys(await keyFiles()).length;
  assert(count > 120, `${count}`);
});
