import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, rm, symlink } from "node:fs/promises";
import { basename } from "node:path";
import test from "node:test";
import { certificatesIn, loadTlsConfig, TlsConfig, TlsReloadError } from "../../mod.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { asNobody, NO_FILE_MODES } from "../support/platform.ts";
import { NO_SPECIAL_FILES } from "../support/platform.ts";

const all = new Map<string, Issued>();
for (const name of ["a", "b", "c", "default"]) all.set(name, await issueServer(name));
const issued = (name: string) => all.get(name)!;

/** A folder with a pair of each kind. */
async function writeAll(files: TestFiles): Promise<string> {
  await files.write("c.pem", issued("c").cert + issued("c").key);
  await files.write("a.crt", issued("a").cert);
  await files.write("a.key", issued("a").key);
  await mkdir(files.path("b"));
  await files.write("b/fullchain.pem", issued("b").cert);
  await files.write("b/privkey.pem", issued("b").key);
  await files.write("default.crt", issued("default").cert);
  await files.write("default.key", issued("default").key);
  await files.write(".hidden.pem", "");
  await files.write("README", "");
  await mkdir(files.path("empty"));
  return files.path(".");
}

const subjects = (config: TlsConfig) => config.certifiedKeys.map(({ leaf }) => leaf.subject);

test("certificatesIn() reads all pairs in the order of names, the default first", async () => {
  await withFiles(async (files) => {
    const folder = await writeAll(files);
    const config = await loadTlsConfig(await certificatesIn(folder));
    assertEquals(subjects(config), ["CN=default", "CN=a", "CN=b", "CN=c"]);
    await symlink(files.path("b"), files.path("z"));
    assertEquals((await certificatesIn(folder)).length, 5);
  });
});

test("certificatesIn() reads the others beside entries whose name is not a path", async () => {
  await withFiles(async (files) => {
    const folder = await writeAll(files);
    for (const name of ["-----BEGIN PRIVATE KEY-----", "xn-----8kcbxdsd0agf.xn--p1ai"]) {
      await mkdir(files.path(name));
      await files.write(`${name}/fullchain.pem`, issued("a").cert);
      await files.write(`${name}/privkey.pem`, issued("a").key);
    }
    const config = await loadTlsConfig(await certificatesIn(folder));
    assertEquals(subjects(config), ["CN=default", "CN=a", "CN=b", "CN=c", "CN=a"]);
  });
});

test("certificatesIn() keeps the previous certified key of a bad pair, reports it, and changes the others", async () => {
  await withFiles(async (files) => {
    const folder = await writeAll(files);
    const previous = await loadTlsConfig(await certificatesIn(folder));
    const [, a, b, c] = previous.certifiedKeys;

    await files.write("a.key", issued("b").key);
    await rm(files.path("b/privkey.pem"));
    await rm(files.path("c.pem"));
    await files.write("new.pem", "no PEM");
    const renewed = await issueServer("renewed");
    await files.write("default.crt", renewed.cert);
    await files.write("default.key", renewed.key);
    const errors: TlsReloadError[] = [];
    const certifiedKeys = await certificatesIn(folder, { previous, onError: (error) => errors.push(error) });

    assertEquals(subjects(new TlsConfig({ certifiedKeys })), ["CN=renewed", "CN=a", "CN=b"]);
    assertStrictEquals(certifiedKeys[1], a);
    assertStrictEquals(certifiedKeys[2], b);
    assertEquals(certifiedKeys.includes(c!), false);
    const reported = errors.map(({ code, path }) => [code, basename(path!)]);
    assertEquals(reported.sort(), [
      ["FILE_NOT_FOUND", "privkey.pem"],
      ["KEY_MISMATCH", "a.crt"],
      ["NO_CERTIFICATE", "new.pem"],
    ]);
  });
});

test("certificatesIn() reports a FIFO at once and keeps the previous certified key", {
  skip: NO_SPECIAL_FILES,
}, async () => {
  await withFiles(async (files) => {
    const folder = await writeAll(files);
    const previous = await loadTlsConfig(await certificatesIn(folder));
    await rm(files.path("a.key"));
    execFileSync("mkfifo", [files.path("a.key"), files.path("fifo.pem")]);
    const errors: TlsReloadError[] = [];
    const certifiedKeys = await certificatesIn(folder, { previous, onError: (error) => errors.push(error) });
    assertEquals(certifiedKeys, previous.certifiedKeys);
    const messages = errors.map(({ code, message, path }) => [code, basename(path!), message.split(": ").at(-1)]);
    const reason = "not a regular file but a FIFO";
    assertEquals(messages.sort(), [["FILE_UNREADABLE", "a.key", reason], ["FILE_UNREADABLE", "fifo.pem", reason]]);
  });
});

test(
  "certificatesIn() reports a folder that cannot be read, and reads the others",
  { skip: NO_FILE_MODES },
  async () => {
    await withFiles(async (files) => {
      const folder = await writeAll(files);
      await chmod(folder, 0o755);
      const previous = await loadTlsConfig(await certificatesIn(folder));
      await files.write("c.pem", issued("a").cert + issued("a").key);
      await mkdir(files.path("lost+found"));
      for (const name of ["b", "lost+found"]) await chmod(files.path(name), 0);
      const errors: TlsReloadError[] = [];
      const onError = (error: TlsReloadError) => errors.push(error);
      await asNobody(async () => {
        const certifiedKeys = await certificatesIn(folder, { previous, onError });
        assertEquals(subjects(new TlsConfig({ certifiedKeys })), ["CN=default", "CN=a", "CN=b", "CN=a"]);
      });
      assertEquals(errors.map(({ code, path }) => [code, path]), [["FILE_UNREADABLE", files.path("b/fullchain.pem")]]);
      await chmod(files.path("b"), 0o755);
    });
  },
);

test("certificatesIn() rejects if no pair can be loaded", async () => {
  await withFiles(async (files) => {
    const code = async (path: string) => (await assertRejects(() => certificatesIn(path), TlsReloadError)).code;
    assertEquals(await code(files.path("missing")), "FILE_NOT_FOUND");
    assertEquals(await code(await files.write("file.txt", "")), "FILE_NOT_FOUND");
    assertEquals(await code(files.path(".")), "NO_CERTIFICATE");
    await files.write("a.key", issued("a").key);
    const onError = () => {};
    const error = await assertRejects(() => certificatesIn(files.path("."), { onError }), TlsReloadError);
    assertEquals([error.code, basename(error.path!)], ["FILE_NOT_FOUND", "a.crt"]);
  });
});

test("certificatesIn() refuses invalid arguments", async () => {
  await assertRejects(() => certificatesIn(""), TypeError);
  await assertRejects(() => certificatesIn(".", { previous: {} as TlsConfig }), TypeError, "must be a TlsConfig");
  await assertRejects(() => certificatesIn(".", { current: 1 } as never), TypeError, "Unknown option 'current'");
});
