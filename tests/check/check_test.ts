import { assert, assertEquals, assertRejects } from "@std/assert";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import process from "node:process";
import test from "node:test";
import { TlsConfig } from "../../mod.ts";
import { check, type Report } from "../../src/check.ts";
import { makeAuthority, makeLeaf } from "../support/chains.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { ecKey, general, type Made, rsaKey } from "../support/made_certificates.ts";
import { NO_FILE_MODES, NO_SPECIAL_FILES } from "../support/platform.ts";
import { parseCertificates } from "../../mod.ts";
import { openssl } from "../support/openssl.ts";

const root = makeAuthority("root");
const intermediate = makeAuthority("intermediate", { issuer: root });
const good = makeLeaf(intermediate);
const another = makeLeaf(intermediate, { subject: "mail", names: [general.dns("mail.example.com")] });
const chainOf = (leaf: Made) => leaf.pem + intermediate.pem;
const keyOf = ({ key }: Pick<Made, "key">) => key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const codesOf = ({ findings }: Report) => findings.map(({ severity, code }) => `${severity} ${code}`);

async function writeKey(files: TestFiles, name: string, key: string): Promise<string> {
  const path = await files.write(name, key);
  await chmod(path, 0o600);
  return path;
}

test("check() says nothing of a good pair, by path, by URL, in one file, and in memory", async () => {
  await withFiles(async (files) => {
    const cert = await files.write("cert.pem", chainOf(good));
    const key = await writeKey(files, "key.pem", keyOf(good));
    const both = await writeKey(files, "both.pem", keyOf(good) + chainOf(good));
    const config = new TlsConfig({ cert: chainOf(good), key: keyOf(good) });
    for (const input of [{ cert, key }, [{ cert, key }], both, new URL(`file://${both}`), cert, config]) {
      const report = await check(input, { names: ["www.example.com"], roots: parseCertificates(root.pem) });
      assertEquals([codesOf(report), report.isUsable], [[], true]);
      assertEquals(report.certificates.map(({ role }) => role), ["server", "intermediate"]);
      assertEquals(report.certificates[0]?.keyType, "P-256");
    }
  });
});

test("check() of a configuration says the same as of its files, and looks at its client authorities", async () => {
  await withFiles(async (files) => {
    const leaf = makeLeaf(intermediate, { keyUsage: 0x20, key: rsaKey() });
    const cert = await files.write("cert.pem", chainOf(leaf) + root.pem);
    const key = await writeKey(files, "key.pem", keyOf(leaf));
    const clientCa = await files.write("ca.pem", intermediate.pem);
    const clientAuth = { mode: "required", ca: intermediate.pem } as const;
    const config = new TlsConfig({ cert: chainOf(leaf) + root.pem, key: keyOf(leaf), clientAuth });
    const names = ["other.example"];
    const ofFiles = await check({ cert, key }, { names, clientCa });
    assertEquals(codesOf(await check(config, { names })), codesOf(ofFiles));
    assertEquals(codesOf(ofFiles).sort(), [
      "error AUTHORITY_UNUSABLE",
      "error KEY_USAGE_WITHOUT_DIGITAL_SIGNATURE",
      "error NAME_NOT_COVERED",
      "note ROOT_SENT",
    ]);
    assertEquals(ofFiles.findings.map(({ source }) => source), [cert, cert, cert, clientCa]);
  });
});

test("check() names what cannot be used by the code of its error, and still looks at the rest", async () => {
  await withFiles(async (files) => {
    const cert = await files.write("cert.pem", chainOf(makeLeaf(intermediate, { names: [] })));
    const key = await writeKey(files, "key.pem", keyOf({ key: ecKey() }));
    const report = await check([{ cert, key }, { cert: files.path("missing.pem") }]);
    assertEquals(codesOf(report), ["error KEY_MISMATCH", "error NO_SAN", "error FILE_NOT_FOUND"]);
    assertEquals([report.isUsable, report.certificates.length], [false, 2]);
  });
});

test("check() cannot compare an encrypted key without its passphrase, which is no fault", async () => {
  await withFiles(async (files) => {
    const cert = await files.write("cert.pem", chainOf(good));
    const encrypted = openssl("pkcs8 -topk8 -v2 aes-256-cbc -passout pass:secret -in FILE -out FILE.pem", keyOf(good));
    const key = await writeKey(files, "key.pem", encrypted.toString());
    const report = await check({ cert, key });
    assertEquals([codesOf(report), report.isUsable], [["note KEY_NOT_CHECKED"], true]);
    assertEquals(codesOf(await check({ cert, key, passphrase: "secret" })), []);
    assertEquals(codesOf(await check({ cert, key, passphrase: "wrong" })), ["error PASSPHRASE_WRONG"]);
  });
});

test("check() finds keys that every user can read, not those of a group", { skip: NO_FILE_MODES }, async () => {
  await withFiles(async (files) => {
    const cert = await files.write("cert.pem", chainOf(good));
    const key = await files.write("key.pem", keyOf(good));
    await chmod(key, 0o644);
    assertEquals(codesOf(await check({ cert, key })), ["warning KEY_FILE_READABLE"]);
    await chmod(key, 0o640);
    assertEquals(codesOf(await check({ cert, key })), []);
  });
});

test("check() takes folders as certificatesIn() does, a folder of certbot too", async () => {
  await withFiles(async (files) => {
    await writeKey(files, "a.pem", keyOf(good) + chainOf(good));
    await files.write("b.crt", chainOf(another));
    await writeKey(files, "b.key", keyOf(another));
    await mkdir(files.path("live"));
    await files.write("live/fullchain.pem", chainOf(good));
    await files.write("live/cert.pem", good.pem);
    await files.write("live/chain.pem", intermediate.pem);
    await writeKey(files, "live/privkey.pem", keyOf(good));
    const names = ["www.example.com", "mail.example.com"];
    const report = await check(files.path("."), { names });
    assertEquals([codesOf(report), report.certificates.length], [[], 6]);
    assertEquals(codesOf(await check(files.path("."), { names: ["none.example"] })), ["error NAME_NOT_COVERED"]);
    const live = await check(files.path("live"));
    assertEquals([codesOf(live), live.certificates.length], [[], 2]);
    await mkdir(files.path("empty"));
    const empty = await check(files.path("empty"));
    assertEquals([codesOf(empty), empty.isUsable], [["error NO_CERTIFICATE"], false]);
  });
});

test("check() of a folder of odd entries names each that cannot be used, and checks the others", {
  skip: NO_SPECIAL_FILES,
}, async () => {
  await withFiles(async (files) => {
    await writeKey(files, "good.pem", keyOf(good) + chainOf(good));
    await writeKey(files, "empty.pem", "");
    await truncate(await writeKey(files, "large.pem", ""), 100 * 1024 * 1024);
    await mkdir(files.path("folder.pem"));
    await symlink("loop.pem", files.path("loop.pem"));
    await symlink("nowhere", files.path("dangling.pem"));
    await symlink("/dev/zero", files.path("device.pem"));
    execFileSync("mkfifo", [files.path("fifo.pem"), files.path("key.key")]);
    await files.write("key.crt", chainOf(good));
    await symlink(".", files.path("itself"));
    const { findings, certificates, isUsable } = await check(files.path("."));
    const found = findings.map(({ code, subject }) => [basename(subject), code].join(" "));
    assertEquals(found.sort(), [
      "dangling.pem FILE_NOT_FOUND",
      "device.pem FILE_UNREADABLE",
      "empty.pem NO_CERTIFICATE",
      "fifo.pem FILE_UNREADABLE",
      "folder.pem FILE_UNREADABLE",
      "key.key FILE_UNREADABLE",
      "large.pem FILE_TOO_LARGE",
      "loop.pem FILE_UNREADABLE",
    ]);
    assertEquals([certificates.length, isUsable], [4, false]);
    const fifos = findings.filter(({ message }) => message.endsWith("not a regular file but a FIFO"));
    assertEquals(fifos.length, 2, "it waited for the writer of a FIFO");
  });
});

test("check() of a folder of 200 pairs takes less than two seconds of the processor", async () => {
  await withFiles(async (files) => {
    const key = ecKey();
    for (let index = 0; index < 200; index++) {
      await files.write(
        `${index}.crt`,
        chainOf(makeLeaf(intermediate, { key, names: [general.dns(`${index}.test`)] })),
      );
      await writeKey(files, `${index}.key`, keyOf({ key }));
    }
    const start = process.cpuUsage();
    const report = await check(files.path("."));
    const { user, system } = process.cpuUsage(start);
    assertEquals([report.findings, report.certificates.length], [[], 400]);
    assert(user + system < 2_000_000, `${user + system} µs`);
  });
});

test("check() does not wait for a FIFO that was used up", { skip: NO_SPECIAL_FILES }, async () => {
  await withFiles(async (files) => {
    const path = files.path("fifo");
    execFileSync("mkfifo", [path]);
    const written = writeFile(path, chainOf(good));
    const key = await writeKey(files, "key.pem", keyOf(another));
    const report = await check({ cert: path, key });
    assertEquals(codesOf(report), ["error KEY_MISMATCH"]);
    await written;
  });
});

test("check() refuses what is no input with a TypeError, and shows nothing of a key", async () => {
  const key = keyOf(good);
  const inputs: readonly unknown[] = [key, { cert: key }, { cert: "a", key }, { certificate: "a" }, {}, 1, undefined];
  for (const input of inputs) {
    const error = await assertRejects(() => check(input as string), TypeError);
    assert(!error.message.includes(key.split("\n")[1]!), error.message);
  }
  await assertRejects(() => check("a.pem", { name: ["a"] } as object), TypeError);
  const names = [1, "", key, key.replaceAll("\n", ""), key.split("\n")[1], "x".repeat(64)].map((name) => ({
    names: [name],
  }));
  const wrong: readonly object[] = [{ names: "a" }, ...names, { roots: "a" }, { roots: {} }, {
    at: new Date(NaN),
  }, { at: "2026" }];
  for (const options of wrong) {
    await assertRejects(() => check("a.pem", options), TypeError, `Cannot call check: '${Object.keys(options)[0]}'`);
  }
});
