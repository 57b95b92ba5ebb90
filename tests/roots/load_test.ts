import { assert, assertEquals, assertInstanceOf, assertMatch, assertRejects } from "@std/assert";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { delimiter, dirname } from "node:path";
import process from "node:process";
import test from "node:test";
import { NativeRootsError } from "../../src/errors.ts";
import { type FileSystem, nodeFileSystem } from "../../src/roots/files.ts";
import { loadRoots } from "../../src/roots/load.ts";
import type { RootCertStore } from "../../src/roots/store.ts";
import { issueCa } from "../support/certificates.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { faultyFiles, limitBy, rootedFiles, systemError, systemOf } from "../support/root_system.ts";

const issued = await Promise.all(["a", "b", "c", "d", "e"].map((name) => issueCa(name)));
const [a, b, c, d, e] = issued.map(({ cert }) => cert) as [string, string, string, string, string];

/** The names of the roots of a store, in its order. */
function found(store: RootCertStore): string {
  return [...store].map(({ subject }) => subject.replace("CN=", "")).join("");
}

/** Code and reason of each warning or error, without the paths of the test. */
function reasons(errors: readonly { code: string; message: string }[]): string[] {
  return errors.map(({ code, message }) => `${code}: ${message.replaceAll(/"[^"]*\//g, '"')}`);
}

async function errorOf(loading: Promise<unknown>): Promise<NativeRootsError> {
  return await assertRejects(() => loading, NativeRootsError, "Cannot load native roots: cannot ");
}

/** Writes a file under directories that are made for it. */
async function place(files: TestFiles, name: string, content: string): Promise<string> {
  const path = files.path(name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

test("loadRoots() reads SSL_CERT_FILE and nothing else", () =>
  withFiles(async (files) => {
    const file = await files.write("roots.pem", `# two of each\n${a}${b}\n# b again\n${b}${a}`);
    const system = systemOf({ SSL_CERT_FILE: file }, { files: faultyFiles() });
    const store = await loadRoots(system);
    assertEquals([found(store), store.warnings], ["ab", []]);
    assertEquals(store.sources, [{ origin: "SSL_CERT_FILE", path: file, certificates: 4 }]);
    assertEquals((system.files as ReturnType<typeof faultyFiles>).reads, [file]);
  }));

test("loadRoots() reads every directory of SSL_CERT_DIR, and SSL_CERT_FILE before them", () =>
  withFiles(async (files) => {
    const file = await place(files, "roots.pem", a);
    await place(files, "one/b.pem", b);
    await place(files, "two/no-certificate-by-its-name", a + c);
    const directories = ["one", "two"].map((name) => files.path(name));
    const env = { SSL_CERT_FILE: file, SSL_CERT_DIR: directories.join(delimiter) };
    const store = await loadRoots(systemOf(env));
    assertEquals([found(store), store.warnings], ["abc", []]);
    assertEquals(store.sources.map(({ origin, path, certificates }) => [origin, path, certificates]), [
      ["SSL_CERT_FILE", file, 1],
      ["SSL_CERT_DIR", directories[0], 1],
      ["SSL_CERT_DIR", directories[1], 2],
    ]);
  }));

test("loadRoots() reads a directory of c_rehash: each file once, no dangling link, no subdirectory", () =>
  withFiles(async (files) => {
    const elsewhere = await place(files, "shared/c.crt", c);
    const directory = dirname(await place(files, "certs/a.pem", a));
    await place(files, "certs/b.pem", b);
    await place(files, "certs/deeper/d.pem", d);
    await place(files, "certs/README", "no certificate");
    const link = (target: string, name: string) => symlink(target, files.path(`certs/${name}`));
    await link("a.pem", "0123abcd.0");
    await link("b.pem", "89abcdef.0");
    await link(elsewhere, "c.pem");
    await link("../shared/c.crt", "c-again.pem");
    await link("c.pem", "01234567.0");
    await link("gone.pem", "dangling.pem");
    await link("../shared", "directory");
    const system = systemOf({ SSL_CERT_DIR: directory }, { files: faultyFiles() });
    const store = await loadRoots(system);
    assertEquals([...found(store)].sort().join(""), "abc");
    assertEquals(store.warnings, []);
    const { reads } = system.files as ReturnType<typeof faultyFiles>;
    assertEquals(reads.filter((path) => /c[^/]*\.pem$/.test(path)).length, 1, String(reads));
    assertEquals(reads.some((path) => /\.0$|deeper/.test(path)), false, String(reads));
  }));

test("loadRoots() reads a file once if a directory holds it as well", () =>
  withFiles(async (files) => {
    const file = await place(files, "certs/bundle.crt", a + b);
    await symlink(files.path("certs"), files.path("same"));
    const files_ = faultyFiles();
    const env = { SSL_CERT_FILE: file, SSL_CERT_DIR: [files.path("certs"), files.path("same")].join(delimiter) };
    const store = await loadRoots(systemOf(env, { files: files_ }));
    assertEquals([found(store), files_.reads, store.warnings], ["ab", [file], []]);
    assertEquals(store.sources.map(({ certificates }) => certificates), [2, 2, 2]);
  }));

test("loadRoots() skips broken files and links among good ones, and warns of each", () =>
  withFiles(async (files) => {
    await place(files, "certs/1.pem", a);
    await place(files, "certs/2.pem", b.replace(/-----END.*\n/, ""));
    await place(files, "certs/3.pem", c.replace(/^M/m, "A"));
    await place(files, "certs/4.pem", `${d}\0`);
    await symlink("loop.pem", files.path("certs/loop.pem"));
    await place(files, "certs/5.pem", e);
    const store = await loadRoots(systemOf({ SSL_CERT_DIR: files.path("certs") }));
    assertEquals([...found(store)].sort().join(""), "ade");
    const warnings = reasons(store.warnings).sort();
    assertEquals(warnings.length, 3, warnings.join("\n"));
    assertEquals(warnings.slice(0, 1), [
      'CERTIFICATE_INVALID: Cannot read certificate 1 in "3.pem": it is not an X.509 certificate',
    ]);
    assertEquals(warnings[1], 'FILE_UNREADABLE: Cannot read "loop.pem": its links lead in a circle');
    assertMatch(warnings[2]!, /^PEM_INVALID: .*"2\.pem" at line 1: section "CERTIFICATE" has no END/);
  }));

const NO_FIFO = process.platform === "win32" && "Windows has no FIFO among its files";
const ALMIGHTY = (process.getuid?.() ?? 0) === 0 && "root may read everything";

test(
  "loadRoots() skips files that are not regular, without waiting for them",
  { skip: NO_FIFO },
  () =>
    withFiles(async (files) => {
      await place(files, "certs/a.pem", a);
      execFileSync("mkfifo", [files.path("certs/fifo"), files.path("fifo")]);
      await symlink("/dev/zero", files.path("certs/endless"));
      await symlink(files.path("fifo"), files.path("certs/link-to-fifo"));
      const store = await loadRoots(systemOf({ SSL_CERT_DIR: files.path("certs") }));
      assertEquals(found(store), "a");
      assertEquals(reasons(store.warnings).sort(), [
        'FILE_UNREADABLE: Cannot read "endless": not a regular file',
        'FILE_UNREADABLE: Cannot read "link-to-fifo": not a regular file',
      ]);
    }),
);

test(
  "loadRoots() skips a file that it has no permission to read",
  { skip: ALMIGHTY },
  () =>
    withFiles(async (files) => {
      await place(files, "certs/a.pem", a);
      await chmod(await place(files, "certs/b.pem", b), 0);
      const store = await loadRoots(systemOf({ SSL_CERT_DIR: files.path("certs") }));
      assertEquals([found(store), ...reasons(store.warnings)], [
        "a",
        'FILE_UNREADABLE: Cannot read "b.pem": this process has no permission to read it',
      ]);
    }),
);

const UNUSABLE: Record<string, [content: string | undefined, code: string, reason: RegExp]> = {
  "is missing": [undefined, "FILE_NOT_FOUND", /SSL_CERT_FILE ".*roots\.pem": no such file/],
  "is empty": ["", "NO_CERTIFICATE", /in SSL_CERT_FILE ".*roots\.pem": it holds none/],
  "is no PEM": ["no certificate", "NO_CERTIFICATE", /it holds none/],
  "holds a key only": [issued[0]!.key, "NO_CERTIFICATE", /it holds none/],
  "holds broken sections only": [a.replace(/-----END.*\n/, ""), "PEM_INVALID", /"CERTIFICATE" has no END/],
  "holds no X.509": [
    a.replace(/^M/m, "A"),
    "CERTIFICATE_INVALID",
    /certificate 1 in ".*": it is not an X\.509 certificate/,
  ],
};
for (const [what, [content, code, reason]] of Object.entries(UNUSABLE)) {
  test(`loadRoots() rejects at once if SSL_CERT_FILE ${what}`, () =>
    withFiles(async (files) => {
      const file = content === undefined ? files.path("roots.pem") : await files.write("roots.pem", content);
      const faulty = faultyFiles();
      const error = await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: file }, { files: faulty })));
      assertEquals([error.code, error.name], ["NATIVE_ROOTS_UNAVAILABLE", "NativeRootsError"]);
      assertEquals(error.errors.map(({ code, path }) => [code, path]), [[code, file]]);
      assertMatch(error.message, reason);
      assertEquals(error.cause, error.errors[0]);
      assertEquals(faulty.reads.length, content === undefined ? 0 : 1);
    }));
}

test("loadRoots() never reads the defaults if SSL_CERT_FILE or SSL_CERT_DIR is set", () =>
  withFiles(async (files) => {
    await place(files, "etc/ssl/certs/ca-certificates.crt", a);
    const options = { files: rootedFiles(files.path("")) };
    for (const env of [{ SSL_CERT_FILE: "/gone" }, { SSL_CERT_DIR: "/gone" }]) {
      const { errors } = await errorOf(loadRoots(systemOf(env, options)));
      assertEquals(errors.length, 1);
    }
  }));

test("loadRoots() treats an empty variable, and empty elements of SSL_CERT_DIR, as not set", () =>
  withFiles(async (files) => {
    await place(files, "etc/ssl/certs/ca-certificates.crt", a);
    const [one, two] = [await place(files, "one/b.pem", b), await place(files, "two/c.pem", c)].map(dirname);
    const options = { files: rootedFiles(files.path("")) };
    for (
      const env of [
        { SSL_CERT_FILE: "" },
        { SSL_CERT_DIR: "" },
        { SSL_CERT_FILE: "", SSL_CERT_DIR: "" },
        { SSL_CERT_DIR: delimiter },
        { SSL_CERT_FILE: "", SSL_CERT_DIR: delimiter.repeat(3) },
      ]
    ) {
      const store = await loadRoots(systemOf(env, options));
      assertEquals([found(store), store.warnings, store.sources[0]!.origin], ["a", [], "default"]);
    }
    const env = { SSL_CERT_FILE: "", SSL_CERT_DIR: `${delimiter}${one}${delimiter}${delimiter}${two}${delimiter}` };
    const store = await loadRoots(systemOf(env));
    assertEquals([found(store), store.warnings], ["bc", []]);
    assertEquals(store.sources.map(({ path }) => path), [one, two]);
  }));

test("loadRoots() refuses PEM in SSL_CERT_FILE and SSL_CERT_DIR, and does not quote it", async () => {
  const { key } = issued[0]!;
  const texts = [secretKey(key), a + key, key.replaceAll("\n", "\\n"), key.replace(/-----.*-----|\n/g, "")];
  for (const text of texts) {
    for (const name of ["SSL_CERT_FILE", "SSL_CERT_DIR"]) {
      const error = await errorOf(loadRoots(systemOf({ [name]: text })));
      const message = `Cannot read ${name}: it holds PEM text or something else that is not a path`;
      assertEquals(error.errors.map(({ code, path, message }) => [code, path, message]), [
        ["FILE_NOT_FOUND", undefined, message],
      ]);
      for (const each of [error, ...error.errors]) assertHidesSecrets(each);
    }
  }
});

test("loadRoots() refuses a file of more than 16 MiB before it reads it", () =>
  withFiles(async (files) => {
    const file = await files.write("roots.pem", a);
    await truncate(file, 100_000_000);
    const { errors } = await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: file })));
    assertEquals(reasons(errors), [
      'FILE_TOO_LARGE: Cannot read SSL_CERT_FILE "roots.pem": larger than 16777216 bytes',
    ]);
  }));

test("loadRoots() names the flag of Node's permission model, and treats a hidden default place as absent", () =>
  withFiles(async (files) => {
    const file = await files.write("roots.pem", a);
    const denied = () =>
      Object.assign(new Error("Access to this API has been restricted"), { code: "ERR_ACCESS_DENIED" });
    const faulty = faultyFiles(denied);
    const { message } = await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: file }, { files: faulty })));
    assert(message.endsWith(`cannot read SSL_CERT_FILE "${file}": Node needs --allow-fs-read=${file}`), message);
    await place(files, "etc/pki/tls/certs/ca-bundle.crt", b);
    const rooted = rootedFiles(files.path(""));
    const hidden = {
      ...rooted,
      realPath: (path: string) => path.startsWith("/etc/ssl") ? Promise.reject(denied()) : rooted.realPath(path),
    };
    const store = await loadRoots(systemOf({}, { files: hidden }));
    assertEquals([found(store), store.warnings], ["b", []]);
  }));

test("loadRoots() reports a directory in SSL_CERT_FILE and a file in SSL_CERT_DIR", () =>
  withFiles(async (files) => {
    const file = await place(files, "certs/a.pem", a);
    const { errors } = await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: dirname(file), SSL_CERT_DIR: file })));
    assertEquals(reasons(errors), [
      'FILE_UNREADABLE: Cannot read SSL_CERT_FILE "certs": not a file but a directory',
      'FILE_UNREADABLE: Cannot read SSL_CERT_DIR "a.pem": not a directory',
    ]);
  }));

test("loadRoots() keeps the good places and warns of missing and empty ones", () =>
  withFiles(async (files) => {
    const file = await files.write("roots.pem", a);
    await mkdir(files.path("empty"));
    const env = { SSL_CERT_FILE: file, SSL_CERT_DIR: [files.path("gone"), files.path("empty")].join(delimiter) };
    const store = await loadRoots(systemOf(env));
    assertEquals(found(store), "a");
    assertEquals(reasons(store.warnings), [
      'FILE_NOT_FOUND: Cannot read SSL_CERT_DIR "gone": no such file or directory',
      'NO_CERTIFICATE: Cannot find a certificate in SSL_CERT_DIR "empty": it holds none',
    ]);
  }));

test("loadRoots() reads by default the first bundle that exists, and all directories that do", () =>
  withFiles(async (files) => {
    await place(files, "etc/pki/tls/certs/ca-bundle.crt", a);
    await place(files, "etc/ssl/cert.pem", b);
    await place(files, "etc/ssl/certs/c.pem", c);
    const store = await loadRoots(systemOf({}, { files: rootedFiles(files.path("")) }));
    assertEquals([found(store), store.warnings], ["ac", []]);
    assertEquals(store.sources, [
      { origin: "default", path: "/etc/pki/tls/certs/ca-bundle.crt", certificates: 1 },
      { origin: "default", path: "/etc/ssl/certs", certificates: 1 },
      { origin: "default", path: "/etc/pki/tls/certs", certificates: 1 },
    ]);
  }));

test("loadRoots() lists all places that it tried if no default exists", () =>
  withFiles(async (files) => {
    const { errors, message } = await errorOf(loadRoots(systemOf({}, { files: rootedFiles(files.path("")) })));
    assertEquals(errors.map(({ path }) => path), [
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
      "/etc/pki/tls/certs/ca-bundle.crt",
      "/etc/ssl/ca-bundle.pem",
      "/etc/pki/tls/cacert.pem",
      "/etc/ssl/cert.pem",
      "/opt/etc/ssl/certs/ca-certificates.crt",
      "/etc/ssl/certs",
      "/etc/pki/tls/certs",
    ]);
    assertEquals(message.split("; ").length, 9);
    assertEquals(message.includes("\n"), false);
  }));

test("loadRoots() knows the places of each system", () =>
  withFiles(async (files) => {
    const options = { files: rootedFiles(files.path("")) };
    await place(files, "usr/local/etc/ssl/cert.pem", a);
    await place(files, "usr/local/share/certs/b.pem", b);
    assertEquals(found(await loadRoots(systemOf({}, { ...options, platform: "freebsd" }))), "ab");
    await place(files, "etc/openssl/certs/ca-certificates.crt", c);
    assertEquals(found(await loadRoots(systemOf({}, { ...options, platform: "netbsd" }))), "c");
    await place(files, "etc/ssl/cert.pem", d);
    assertEquals(found(await loadRoots(systemOf({}, { ...options, platform: "openbsd" }))), "d");
  }));

test("loadRoots() reads the runtime's list on Windows, and names the versions that have one", async () => {
  const windows = { platform: "win32", runtimeRoots: () => [a, b.trimEnd(), a] };
  const store = await loadRoots(systemOf({}, windows));
  assertEquals([found(store), store.warnings], ["ab", []]);
  assertEquals(store.sources, [{ origin: "runtime", path: undefined, certificates: 3 }]);
  const { errors } = await errorOf(loadRoots(systemOf({}, { ...windows, runtimeRoots: undefined })));
  assertEquals(errors.map(({ code }) => code), ["UNSUPPORTED"]);
  assertMatch(errors[0]!.message, /use Node 22\.15, Deno 2\.8, Bun 1\.4 or later/);
});

for (const code of ["EIO", "EMFILE", "ENFILE", "EAGAIN", "ESTALE"]) {
  test(`loadRoots() retries after ${code}, up to three attempts`, () =>
    withFiles(async (files) => {
      const file = await files.write("roots.pem", a);
      const failing = (times: number) => faultyFiles((_path, index) => index < times ? systemError(code) : undefined);
      for (const times of [1, 2]) {
        const faulty = failing(times);
        const store = await loadRoots(systemOf({ SSL_CERT_FILE: file }, { files: faulty }));
        assertEquals([found(store), store.warnings, faulty.reads.length], ["a", [], times + 1]);
      }
      const faulty = failing(3);
      const error = await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: file }, { files: faulty })));
      assertEquals([faulty.reads.length, error.errors.length], [3, 1]);
      assertMatch(error.message, new RegExp(`: cannot read SSL_CERT_FILE ".*roots\\.pem": the system says ${code}$`));
    }));
}

test("loadRoots() does not retry after a denied permission", () =>
  withFiles(async (files) => {
    const file = await files.write("roots.pem", a);
    for (const code of ["EACCES", "EPERM", "EISDIR"]) {
      const faulty = faultyFiles(() => systemError(code));
      const { errors } = await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: file }, { files: faulty })));
      assertEquals([faulty.reads.length, errors.map(({ code }) => code)], [1, ["FILE_UNREADABLE"]]);
    }
  }));

test("loadRoots() retries for one file of a directory, then leaves it out", () =>
  withFiles(async (files) => {
    await place(files, "certs/a.pem", a);
    const bad = await place(files, "certs/b.pem", b);
    const faulty = faultyFiles((path) => path.endsWith("b.pem") ? systemError("EIO") : undefined);
    const store = await loadRoots(systemOf({ SSL_CERT_DIR: dirname(bad) }, { files: faulty }));
    assertEquals([found(store), reasons(store.warnings)], ["a", [
      'FILE_UNREADABLE: Cannot read "b.pem": the system says EIO',
    ]]);
    assertEquals(faulty.reads.filter((path) => path.endsWith("b.pem")).length, 3);
  }));

/** The real file system, which gives no answer for one directory. */
function unanswered(directory: string, onAsk = () => {}): Pick<FileSystem, "realPath" | "list"> {
  const ask = <T>(path: string, real: (path: string) => Promise<T>) => {
    if (path !== directory) return real(path);
    onAsk();
    return new Promise<T>(() => {});
  };
  return {
    realPath: (path) => ask(path, nodeFileSystem.realPath),
    list: (path) => ask(path, nodeFileSystem.list),
  };
}

test("loadRoots() leaves out a place that does not answer, and keeps the others", () =>
  withFiles(async ({ write }) => {
    const file = await write("roots.pem", a);
    const limit = new AbortController();
    const files = { ...faultyFiles(() => void limit.abort()), ...unanswered("/mnt/gone") };
    const system = systemOf({ SSL_CERT_FILE: file, SSL_CERT_DIR: "/mnt/gone" }, { files, limit: limitBy(limit) });
    const store = await loadRoots(system);
    assertEquals(found(store), "a");
    assertEquals(reasons(store.warnings), [
      'FILE_UNREADABLE: Cannot read SSL_CERT_DIR "gone": no answer within 10000 ms',
    ]);
  }));

test("loadRoots() stops the timer of each attempt, because it would keep the process alive", () =>
  withFiles(async ({ write }) => {
    const file = await write("roots.pem", a);
    let ended = 0;
    const options = {
      files: faultyFiles(() => systemError("EIO")),
      limit: limitBy(new AbortController(), () => ended++),
    };
    await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: file }, options)));
    assertEquals(ended, 3);
  }));

test("loadRoots() waits for the directory of link targets before it reads them", () =>
  withFiles(async (folder) => {
    await place(folder, "certs/a.pem", a);
    const elsewhere = await place(folder, "mount/b.pem", b);
    await symlink(elsewhere, folder.path("certs/b.pem"));
    const limit = new AbortController();
    const files = { ...faultyFiles(), ...unanswered(dirname(elsewhere), () => limit.abort()) };
    const system = systemOf({ SSL_CERT_DIR: folder.path("certs") }, { files, limit: limitBy(limit) });
    const { errors } = await errorOf(loadRoots(system));
    assertEquals(reasons(errors), ['FILE_UNREADABLE: Cannot read SSL_CERT_DIR "certs": no answer within 10000 ms']);
    assertEquals(files.reads, []);
  }));

test("loadRoots() names the missing flag of Deno", async () => {
  const denied = (message: string) => Object.assign(new Error(message), { name: "NotCapable" });
  const env = () => {
    throw denied('Requires env access to "SSL_CERT_FILE", run again with the --allow-env flag');
  };
  const { errors } = await errorOf(loadRoots({ ...systemOf({}), env }));
  assertEquals(errors.map(({ message }) => message), [
    "Cannot read the environment: Deno needs --allow-env=SSL_CERT_FILE,SSL_CERT_DIR",
  ]);
  assertInstanceOf(errors[0]!.cause, Error);
  const runtimeRoots = () => {
    throw denied('Requires sys access to "ca", run again with the --allow-sys flag');
  };
  const windows = await errorOf(loadRoots(systemOf({}, { platform: "win32", runtimeRoots })));
  assert(windows.message.endsWith("Deno needs --allow-sys=ca"), windows.message);
  await withFiles(async ({ write }) => {
    const file = await write("roots.pem", a);
    const files = faultyFiles((path) =>
      denied(`Requires read access to "${path}", run again with the --allow-read flag`)
    );
    const { message } = await errorOf(loadRoots(systemOf({ SSL_CERT_FILE: file }, { files })));
    assert(message.endsWith(`cannot read SSL_CERT_FILE "${file}": Deno needs --allow-read=${file}`), message);
  });
});
