import { assert, assertEquals, assertNotEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { createPrivateKey } from "node:crypto";
import { renameSync, symlinkSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import test, { afterEach, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";
import type { CertifiedKey } from "../../src/config/certified_key.ts";
import { type CertifiedKeyFiles, loadCertifiedKeys } from "../../src/config/load_certified_keys.ts";
import { encodePem, loadTlsConfig, parsePem, TlsReloadError } from "../../mod.ts";
import { PemSource } from "../../src/x509/pem_source.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";

const [first, second] = [await issueServer("first"), await issueServer("second")];
/** Where the scalar is in a P-256 key in PKCS#8. */
const SCALAR_AT = 36;
const stampOf = async (path: string) => (await PemSource.find(path)).stamp;

async function write(files: TestFiles, { cert, key }: Issued): Promise<CertifiedKeyFiles & { cert: string }> {
  return { cert: await files.write("tls.crt", cert), key: await files.write("tls.key", key) };
}

async function load(entry: CertifiedKeyFiles): Promise<CertifiedKey> {
  const [certifiedKey] = await loadCertifiedKeys([entry]);
  return certifiedKey!;
}

/** A key that claims to be the first one by its public key, and has the secret of the second one. */
function forgedKey(): string {
  const derOf = ({ key }: Issued) => Buffer.from(parsePem(key)[0]!.der);
  const der = derOf(first);
  derOf(second).copy(der, SCALAR_AT, SCALAR_AT, SCALAR_AT + 32);
  return encodePem({ label: "PRIVATE KEY", der });
}

async function refusalOf(entry: CertifiedKeyFiles): Promise<string> {
  return (await assertRejects(() => load(entry), TlsReloadError)).code;
}

// A minute from now, files that are written now are old enough to have a stamp.
const { now } = Date;
beforeEach(() => void (Date.now = () => now() + 60_000));
afterEach(() => void (Date.now = now));

test("PemSource.stamp identifies a file that has not changed for some seconds", () =>
  withFiles(async (files) => {
    const path = await files.write("file", "one");
    assert(await stampOf(path));
    assertEquals(await stampOf(path), await stampOf(path));
    Date.now = now;
    assertEquals(await stampOf(path), undefined);
    assertEquals(await stampOf(fileURLToPath(new URL("./", import.meta.url))), undefined);
  }));

test("PemSource.stamp changes with the content and with the file", () =>
  withFiles(async (files) => {
    const path = await files.write("file", "one");
    const before = await stampOf(path);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await files.write("file", "two");
    const after = await stampOf(path);
    assertNotEquals(after, before);
    renameSync(await files.write("other", "two"), path);
    assertNotEquals(await stampOf(path), after);
  }));

test("loadCertifiedKeys() returns the same certified key as long as its files are unchanged", () =>
  withFiles(async (files) => {
    const entry = await write(files, first);
    const certifiedKey = await load(entry);
    assertStrictEquals(await load(entry), certifiedKey);
    await write(files, second);
    assertEquals((await load(entry)).leaf.fingerprint256, second.fingerprint256);
  }));

test("loadCertifiedKeys() does not take the files of one moment for those of another", () =>
  withFiles(async (files) => {
    const live = files.path("live");
    const pointTo = (folder: string) => {
      symlinkSync(folder, files.path("next"));
      renameSync(files.path("next"), live);
    };
    for (const [folder, { cert, key }] of [["one", first], ["two", second]] as const) {
      await mkdir(files.path(folder));
      await files.write(`${folder}/tls.crt`, cert);
      await files.write(`${folder}/tls.key`, key);
    }
    pointTo("one");
    const entry = { cert: join(live, "tls.crt"), key: join(live, "tls.key") };
    // The clock is read for the stamp, after the files were found and before they are opened.
    let isFirst = true;
    Date.now = () => {
      if (isFirst) pointTo("two");
      isFirst = false;
      return now() + 60_000;
    };
    const certifiedKey = await load(entry);
    assertEquals(certifiedKey.leaf.fingerprint256, second.fingerprint256);
    pointTo("one");
    assertEquals((await load(entry)).leaf.fingerprint256, first.fingerprint256);
  }));

test("loadCertifiedKeys() reads the key again if only its file has changed", () =>
  withFiles(async (files) => {
    const entry = await write(files, first);
    await load(entry);
    await files.write("tls.key", second.key);
    assertEquals(await refusalOf(entry), "KEY_MISMATCH");
    const other = await files.write("other.key", first.key);
    await load({ cert: entry.cert, key: other });
    assertEquals(await refusalOf(entry), "KEY_MISMATCH");
  }));

test("loadCertifiedKeys() asks for the passphrase again", () =>
  withFiles(async (files) => {
    const secret = { cipher: "aes-256-cbc", passphrase: "right" };
    const key = createPrivateKey(first.key).export({ type: "pkcs8", format: "pem", ...secret }).toString();
    const entry = await write(files, { ...first, key });
    await load({ ...entry, passphrase: "right" });
    assertEquals(await refusalOf({ ...entry, passphrase: "wrong" }), "PASSPHRASE_WRONG");
    assertEquals(await refusalOf(entry), "KEY_ENCRYPTED");
  }));

test("loadCertifiedKeys() reports a pair that is wrong, and loads the others", () =>
  withFiles(async (files) => {
    const good = await write(files, first);
    const bad = { cert: good.cert, key: await files.write("second.key", second.key) };
    const errors: unknown[] = [];
    const certifiedKeys = await loadCertifiedKeys([bad, good, bad], (error) => void errors.push(error));
    assertEquals(certifiedKeys.map(({ leaf }) => leaf.fingerprint256), [first.fingerprint256]);
    assertEquals(errors.map((error) => (error as TlsReloadError).code), ["KEY_MISMATCH", "KEY_MISMATCH"]);
  }));

test("loadCertifiedKeys() reports a key that holds only the public half of its certificate, and loads the others", () =>
  withFiles(async (files) => {
    const good = await write(files, first);
    const forged = { cert: good.cert, key: await files.write("forged.key", forgedKey()) };
    const errors: unknown[] = [];
    const certifiedKeys = await loadCertifiedKeys([good, forged], (error) => void errors.push(error));
    assertEquals(certifiedKeys.map(({ leaf }) => leaf.fingerprint256), [first.fingerprint256]);
    assertEquals(errors.map((error) => (error as TlsReloadError).code), ["KEY_MISMATCH"]);
  }));

test("loadTlsConfig() ignores the public half of a key file, and serves with the secret", () =>
  withFiles(async (files) => {
    const cert = await files.write("tls.crt", second.cert);
    const config = await loadTlsConfig(cert, await files.write("forged.key", forgedKey()));
    assertEquals(config.leaf.fingerprint256, second.fingerprint256);
  }));
