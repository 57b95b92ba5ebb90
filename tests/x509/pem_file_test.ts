import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { closeSync, constants, existsSync, openSync, renameSync } from "node:fs";
import { chmod, mkdir, symlink, truncate } from "node:fs/promises";
import { createServer } from "node:net";
import { resolve } from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";
import { readPemFile } from "../../src/x509/pem_file.ts";
import { loadTlsConfig, parsePem, TlsReloadError } from "../../mod.ts";
import { readPemSource } from "../../src/x509/pem_source.ts";
import { issueServer } from "../support/certificates.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";
import { withFiles } from "../support/files.ts";
import { assertRefused } from "../support/refusals.ts";
import { asNobody, NO_FILE_MODES, NO_SPECIAL_FILES } from "../support/platform.ts";

const MEBIBYTE = 1024 * 1024;

test("readPemFile() reads a file by its path and by its URL", () =>
  withFiles(async (files) => {
    const content = Buffer.from("hello\r\n\0\xff");
    const path = await files.write("with space and ü.pem", content);
    for (const each of [path, pathToFileURL(path)]) {
      const { path: read, bytes } = await readPemFile(each);
      assertEquals([read, Buffer.from(bytes)], [path, content]);
    }
  }));

test("readPemFile() reads an empty file, and one of 1 MiB", () =>
  withFiles(async (files) => {
    assertEquals((await readPemFile(await files.write("empty", ""))).bytes.length, 0);
    assertEquals((await readPemFile(await files.write("large", "x".repeat(MEBIBYTE)))).bytes.length, MEBIBYTE);
  }));

test("readPemFile() follows links like those of certbot", () =>
  withFiles(async (files) => {
    await files.write("archive.pem", "x");
    await symlink("archive.pem", files.path("live.pem"));
    const { path, bytes } = await readPemFile(files.path("live.pem"));
    assertEquals([path, bytes.length], [files.path("live.pem"), 1]);
  }));

test("readPemFile() refuses a path without a file", () =>
  withFiles(async (files) => {
    const path = files.path("missing.pem");
    const message = /^Cannot read ".*missing\.pem": no such file$/;
    await assertRefused(() => readPemFile(path), "FILE_NOT_FOUND", { path, message });
    await assertRefused(() => readPemFile(pathToFileURL(path)), "FILE_NOT_FOUND", { path, message });
    await symlink("nowhere", files.path("dangling.pem"));
    await assertRefused(() => readPemFile(files.path("dangling.pem")), "FILE_NOT_FOUND", {
      path: files.path("dangling.pem"),
    });
    const file = await files.write("file", "");
    await assertRefused(() => readPemFile(`${file}/x`), "FILE_NOT_FOUND", { path: `${file}/x` });
    await assertRefused(() => readPemFile(""), "FILE_NOT_FOUND", { path: "" });
    const relative = `Cannot read "missing.pem": no such file at "${resolve("missing.pem")}"`;
    assertEquals((await assertRejects(() => readPemFile("missing.pem"), TlsReloadError)).message, relative);
  }));

test("readPemFile() refuses files of more than 1 MiB", () =>
  withFiles(async (files) => {
    const path = await files.write("large", "");
    for (const size of [MEBIBYTE + 1, 2 ** 40]) {
      await truncate(path, size);
      const message = /: larger than 1048576 bytes$/;
      await assertRefused(() => readPemFile(path), "FILE_TOO_LARGE", { path, message });
    }
  }));

test("readPemFile() refuses a directory", () =>
  withFiles(async (files) => {
    const path = files.path("directory");
    await mkdir(path);
    await assertRefused(() => readPemFile(path), "FILE_UNREADABLE", {
      path,
      message: /: not a regular file but a directory$/,
    });
  }));

test(
  "readPemFile() refuses a FIFO, and does not wait for its writer",
  { skip: NO_SPECIAL_FILES },
  () =>
    withFiles(async (files) => {
      const path = files.path("fifo");
      assertEquals(spawnSync("mkfifo", [path]).status, 0);
      await assertRefused(() => readPemFile(path), "FILE_UNREADABLE", {
        path,
        message: /: not a regular file but a FIFO$/,
      });
    }),
);

test("readPemFile() does not wait for the writer of a FIFO that replaces the file meanwhile", {
  skip: NO_SPECIAL_FILES,
}, () =>
  withFiles(async (files) => {
    const path = await files.write("file", "x");
    const fifo = files.path("fifo");
    assertEquals(spawnSync("mkfifo", [fifo]).status, 0);
    const reading = readPemFile(path);
    // While this thread stands still another one finds the file; when it goes on, there is a FIFO to be opened.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    renameSync(fifo, path);
    let rescued = false;
    // Only what waits for a writer is still there after a minute.
    const rescue = setTimeout(() => {
      rescued = true;
      closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    }, 60_000);
    await assertRefused(() => reading, "FILE_UNREADABLE", { path, message: /: not a regular file but a FIFO$/ })
      .finally(() => clearTimeout(rescue));
    assertEquals(rescued, false);
  }));

test("readPemFile() refuses a socket", { skip: NO_SPECIAL_FILES }, () =>
  withFiles(async (files) => {
    const path = files.path("socket");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await assertRefused(() => readPemFile(path), "FILE_UNREADABLE", {
      path,
      message: /: not a regular file but a socket$/,
    });
    await new Promise((resolve) => server.close(resolve));
  }));

test("readPemFile() refuses devices", { skip: NO_SPECIAL_FILES }, async () => {
  for (const path of ["/dev/zero", "/dev/null", "/dev/urandom"]) {
    await assertRefused(() => readPemFile(path), "FILE_UNREADABLE", {
      path,
      message: /: not a regular file but a device$/,
    });
  }
});

/** A regular file of several megabytes whose size is 0, as far as its directory knows. */
const KERNEL_SYMBOLS = "/proc/kallsyms";

test("readPemFile() reads at most 1 MiB of a file without a known size", {
  skip: existsSync(KERNEL_SYMBOLS) ? false : "only Linux has such a file",
}, async () => {
  await assertRefused(() => readPemFile(KERNEL_SYMBOLS), "FILE_TOO_LARGE", { path: KERNEL_SYMBOLS });
});

test("readPemFile() names the error code of the system", () =>
  withFiles(async (files) => {
    await symlink("loop", files.path("loop"));
    const path = files.path("loop");
    await assertRefused(() => readPemFile(path), "FILE_UNREADABLE", { path, message: /: the system says ELOOP$/ });
    const long = files.path("x".repeat(300));
    await assertRefused(() => readPemFile(long), "FILE_UNREADABLE", {
      path: long,
      message: /: the system says ENAMETOOLONG$/,
    });
    await assertRefused(() => readPemFile("a\0b"), "FILE_UNREADABLE", { path: "a\0b" });
  }));

test(
  "readPemFile() refuses a file that it has no permission to read",
  { skip: NO_FILE_MODES },
  () =>
    withFiles(async (files) => {
      const path = await files.write("secret.pem", "x");
      await chmod(path, 0);
      await asNobody(async () => {
        await assertRefused(() => readPemFile(path), "FILE_UNREADABLE", { path, message: /: the system says EACCES$/ });
      });
    }),
);

/** A key in every form in which it may be given where a path belongs. */
async function confusions(): Promise<unknown[]> {
  const { cert, key } = await issueServer("confusion");
  secretKey(key);
  const der = parsePem(key)[0]!.der;
  const base64 = Buffer.from(der).toString("base64");
  const texts = [key, cert, cert + key, key.trim(), key.replaceAll("\n", "\\n"), key.replaceAll("\n", " ")];
  const cut = [
    key.slice(4),
    key.slice(30),
    base64,
    base64.replace(/.{64}/g, "$&\n"),
    Buffer.from(key).toString("base64"),
  ];
  return [...texts, ...cut, ...texts.map((text) => Buffer.from(text)), der, Buffer.from(der)];
}

test("readPemFile() and loadTlsConfig() refuse PEM in place of a path, and do not quote it", async () => {
  for (const given of await confusions()) {
    const path = given as string;
    for (
      const attempt of [
        () => readPemFile(path),
        () => readPemSource(path),
        () => loadTlsConfig(path, "key.pem"),
        () => loadTlsConfig("missing.pem", path),
        () => loadTlsConfig("missing.pem", "key.pem", { clientAuth: { ca: path, mode: "required" } }),
      ]
    ) {
      const error = await assertRejects(attempt, TypeError);
      assertMatch(
        error.message,
        /^Cannot call \w+: '[\w.]+' (is PEM text, not a path: use TlsConfig|must be a path or a URL: a \w+(, not a path: use TlsConfig)?)$/,
      );
      assertEquals(error.cause, undefined);
      assertHidesSecrets(error);
    }
  }
});

test("readPemFile() refuses other types with a TypeError", async () => {
  for (const path of [undefined, null, 5, {}, { path: "a.pem", bytes: new Uint8Array() }, Buffer.from("a.pem")]) {
    const error = await assertRejects(() => readPemFile(path as unknown as string), TypeError);
    assertMatch(
      error.message,
      /^Cannot call readPemFile: 'path' must be a path or a URL: (undefined|null|an? \w+(, not a path: use TlsConfig)?)$/,
    );
  }
});

test("readPemFile() reads paths with unusual characters", () =>
  withFiles(async (files) => {
    for (const name of ["BEGIN", "-- a.pem", "MIIB.pem", "C:\\a b.pem", "LS0tLS1CRUdJTi", "x".repeat(200)]) {
      const path = await files.write(name, "x");
      assertEquals((await readPemFile(path)).bytes.length, 1);
    }
  }));

test("readPemFile() has an option for the limit, and refuses 100 MB before it reads", () =>
  withFiles(async (files) => {
    const path = await files.write("large", "");
    await truncate(path, 2 * MEBIBYTE);
    assertEquals((await readPemFile(path, { maxBytes: 2 * MEBIBYTE })).bytes.length, 2 * MEBIBYTE);
    await truncate(path, 100_000_000);
    const start = performance.now();
    const message = /: larger than 2097152 bytes$/;
    await assertRefused(() => readPemFile(path, { maxBytes: 2 * MEBIBYTE }), "FILE_TOO_LARGE", { path, message });
    await assertRefused(() => loadTlsConfig(path, path), "FILE_TOO_LARGE", { path });
    assert(performance.now() - start < 1_000);
  }));

test("readPemFile() accepts only file URLs", async () => {
  await assertRejects(() => readPemFile(new URL("https://example.test/chain.pem")), TypeError);
});
