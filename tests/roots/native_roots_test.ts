import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { existsSync } from "node:fs";
import { mkdir, symlink } from "node:fs/promises";
import { delimiter } from "node:path";
import process from "node:process";
import test from "node:test";
import { parseCertificates } from "../../mod.ts";
import { nativeRoots, NativeRootsError, refreshNativeRoots, RootCertStore, warmNativeRoots } from "../../src/roots.ts";
import { issueCa } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { opensslText } from "../support/openssl.ts";
import { runHere } from "../support/root_system.ts";

const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const NO_BUNDLE = !existsSync(BUNDLE) && `this system has no ${BUNDLE}`;
const NOT_DENO = !process.versions["deno"] && "only Deno has permissions";

const [a, b] = await Promise.all([issueCa("a"), issueCa("b")]);

/** The roots that a process of its own finds. */
async function rootsOf(env: Record<string, string>, denoFlags?: readonly string[], ...args: string[]) {
  return JSON.parse(await runHere("tests/roots/print_roots.ts", { env, args, ...(denoFlags && { denoFlags }) }));
}

function fingerprints(pem: string): string[] {
  return [...new Set(parseCertificates(pem).map(({ fingerprint256 }) => fingerprint256))].sort();
}

test("nativeRoots() reads once for the process and all copies of the module, until a refresh", () =>
  withFiles(async ({ write, path }) => {
    const { SSL_CERT_FILE, SSL_CERT_DIR } = process.env;
    const set = (name: string, value: string | undefined) => {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    };
    try {
      set("SSL_CERT_FILE", path("roots.pem"));
      set("SSL_CERT_DIR", undefined);
      const error = await assertRejects(() => warmNativeRoots(), NativeRootsError);
      await write("roots.pem", a.cert);
      assertStrictEquals(await assertRejects(() => nativeRoots(), NativeRootsError), error);

      const store = await refreshNativeRoots();
      assert(store instanceof RootCertStore);
      await write("roots.pem", a.cert + b.cert);
      const copy: { nativeRoots: typeof nativeRoots } = await import("../../src/roots/native_roots.ts?copy");
      assert(copy.nativeRoots !== nativeRoots);
      assertEquals(
        [await nativeRoots(), await warmNativeRoots(), await copy.nativeRoots()].map((each) => each === store),
        [
          true,
          true,
          true,
        ],
      );
      assertEquals((await refreshNativeRoots()).size, 2);
    } finally {
      set("SSL_CERT_FILE", SSL_CERT_FILE);
      set("SSL_CERT_DIR", SSL_CERT_DIR);
    }
  }));

test("nativeRoots() finds the same default roots as the runtime", { skip: NO_BUNDLE }, async () => {
  const { roots, system, warnings } = await rootsOf({}, undefined, "system");
  assert(system.length > 0);
  // Deno lists the bundle alone: what only a directory holds it does not know.
  const known = NOT_DENO ? roots : roots.filter((root: string) => system.includes(root));
  assertEquals([known, warnings], [system, []]);
});

test("nativeRoots() finds the same roots in the system's bundle as openssl", { skip: NO_BUNDLE }, async () => {
  const { roots, warnings } = await rootsOf({ SSL_CERT_FILE: BUNDLE });
  assertEquals([roots, warnings], [fingerprints(opensslText(["storeutl", "-certs", BUNDLE])), []]);
});

test("nativeRoots() finds the same roots in SSL_CERT_FILE and a directory of openssl rehash as the runtime", () =>
  withFiles(async ({ write, path }) => {
    await mkdir(path("certs"));
    await symlink("../b.crt", path("certs/b.pem"));
    await write("b.crt", b.cert);
    opensslText(["rehash", path("certs")]);
    const env = { SSL_CERT_FILE: await write("roots.pem", `# a\n${a.cert}\n${a.cert}`) };
    const { roots, system, warnings } = await rootsOf({ ...env, SSL_CERT_DIR: path("certs") }, undefined, "system");
    assertEquals([roots, warnings], [fingerprints(a.cert + b.cert), []]);
    // Deno lists the file alone, where both are named.
    assertEquals(system.filter((root: string) => !roots.includes(root)), []);
  }));

const FLAGS = ["--allow-env=SSL_CERT_FILE,SSL_CERT_DIR", "--allow-read=/etc/ssl"];

test("nativeRoots() works on Deno with two flags", { skip: NOT_DENO || NO_BUNDLE }, async () => {
  const { roots, warnings } = await rootsOf({}, FLAGS);
  assertEquals([roots.length > 0, warnings], [true, []]);
  assertEquals(roots, (await rootsOf({})).roots);
});

test("nativeRoots() names the missing flag of Deno", { skip: NOT_DENO }, async () => {
  const { name, code, message } = await rootsOf({}, FLAGS.slice(1));
  assertEquals([name, code], ["NativeRootsError", "NATIVE_ROOTS_UNAVAILABLE"]);
  assertEquals(
    message,
    "Cannot load native roots: cannot read the environment: Deno needs --allow-env=SSL_CERT_FILE,SSL_CERT_DIR",
  );
  const defaults = await rootsOf({}, FLAGS.slice(0, 1));
  assert(defaults.message.includes(`cannot read "${BUNDLE}": Deno needs --allow-read=${BUNDLE}; `), defaults.message);
  const named = await rootsOf({ SSL_CERT_DIR: ["/one", "/two"].join(delimiter) }, FLAGS);
  assertEquals(
    named.message,
    'Cannot load native roots: cannot read SSL_CERT_DIR "/one": Deno needs --allow-read=/one; ' +
      'cannot read SSL_CERT_DIR "/two": Deno needs --allow-read=/two',
  );
});
