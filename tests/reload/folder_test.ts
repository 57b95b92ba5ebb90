import { assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { chmod, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { certificatesIn, loadTlsConfig, type TlsConfig, type TlsReloadError, TlsState } from "../../mod.ts";
import { Reloader, type ReloadingTls, reloadTls } from "../../src/reload.ts";
import { lookAtFolder, placesIn } from "../../src/reload/folder.ts";
import { issue, type Issued, issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { asNobody, NO_FILE_MODES } from "../support/platform.ts";
import { echoServer, visit } from "../support/peers.ts";
import { BY_EVENTS, BY_POLLING, nextEvent } from "./rotating_files.ts";

const named = (name: string) => issue(name, { names: [{ type: "dns", value: `${name}.test` }] });
const [a1, a2, b1, b2, c1] = await Promise.all(["a", "a", "b", "b", "c"].map(named)) as [
  Issued,
  Issued,
  Issued,
  Issued,
  Issued,
];
const standard = await issueServer("default");

/** Puts a pair in place as one file, at once. */
async function place(files: TestFiles, name: string, { cert, key }: Issued): Promise<void> {
  await rename(await files.write(`.${name}.new`, cert + key), files.path(`certs.d/${name}.pem`));
}

async function withFolder(body: (files: TestFiles, folder: string) => Promise<void>): Promise<void> {
  await withFiles(async (files) => {
    await mkdir(files.path("certs.d"));
    for (const [name, issued] of [["default", standard], ["a", a1], ["b", b1]] as const) {
      await place(files, name, issued);
    }
    await body(files, files.path("certs.d"));
  });
}

const subjects = ({ certifiedKeys }: TlsConfig) => certifiedKeys.map(({ leaf }) => leaf.subject);
const served = ({ state }: ReloadingTls, name: string) => state.current().certifiedKeyFor(name)?.leaf.fingerprint256;

for (const [way, watch] of [["events", BY_EVENTS], ["polling", BY_POLLING]] as const) {
  test(`reloadTls() serves a folder, and its new, changed and removed files, seen by ${way}`, () =>
    withFolder(async (files, folder) => {
      const tls = await reloadTls({ folder, watch });
      const server = await echoServer(tls.state);
      const servedTo = async (servername: string) => (await visit(server.port, { servername })).fingerprint256;
      await nextEvent(tls.reloader, "unchanged");
      assertEquals(subjects(tls.state.current()), ["CN=default", "CN=a", "CN=b"]);
      assertEquals(await servedTo("a.test"), a1.fingerprint256);
      const [, , b] = tls.state.current().certifiedKeys;

      let swapped = nextEvent(tls.reloader, "swap");
      await place(files, "a", a2);
      await swapped;
      assertEquals(await servedTo("a.test"), a2.fingerprint256);
      // What is unchanged is neither parsed nor proved again.
      assertEquals(tls.state.current().certifiedKeys[2] === b, true);

      swapped = nextEvent(tls.reloader, "swap");
      await place(files, "c", c1);
      await swapped;
      assertEquals(await servedTo("c.test"), c1.fingerprint256);

      swapped = nextEvent(tls.reloader, "swap");
      await rm(files.path("certs.d/c.pem"));
      await swapped;
      assertEquals(await servedTo("c.test"), standard.fingerprint256);
      assertEquals([tls.status().inSync, tls.status().watches[0]!.paths], [true, [folder]]);
      await server[Symbol.asyncDispose]();
      await tls.close();
    }));

  test(`reloadTls() keeps the certificate of a bad pair, reports it once and changes the others, seen by ${way}`, () =>
    withFolder(async (files, folder) => {
      const tls = await reloadTls({ folder, watch });
      await nextEvent(tls.reloader, "unchanged");
      const partial: TlsReloadError[] = [];
      tls.reloader.addEventListener("partial", (event) => {
        partial.push(event.detail.error as TlsReloadError);
        event.preventDefault();
      });
      const broken = nextEvent(tls.reloader, "partial");
      await place(files, "a", { ...a2, key: b1.key });
      await broken;
      const swapped = nextEvent(tls.reloader, "swap");
      await place(files, "b", b2);
      await swapped;
      assertEquals([served(tls, "a.test"), served(tls, "b.test")], [a1.fingerprint256, b2.fingerprint256]);
      // Retries, whose error is the same, without a change of the files.
      for (let retries = 0; retries < 3; retries++) await nextEvent(tls.reloader, "unchanged");
      assertEquals(partial.map(({ code, path }) => [code, path]), [["KEY_MISMATCH", files.path("certs.d/a.pem")]]);
      const { inSync, partialFailures, failuresInARow } = tls.status();
      assertEquals([inSync, partialFailures.map(({ code }) => code), failuresInARow], [false, ["KEY_MISMATCH"], 0]);
      assertStringIncludes(tls.reloader.metrics(), "tls_reload_partial_failures 1\n");

      const repaired = nextEvent(tls.reloader, "swap");
      await place(files, "a", a2);
      await repaired;
      assertEquals(served(tls, "a.test"), a2.fingerprint256);
      assertEquals([tls.status().inSync, tls.status().partialFailures, partial.length], [true, [], 1]);
      await tls.close();
    }));
}

test("reloadTls() watches what the links of a folder lead to", () =>
  withFiles(async (files) => {
    for (const folder of ["live", "live/a", "archive"]) await mkdir(files.path(folder));
    const link = async (revision: number, { cert, key }: Issued) => {
      for (const [name, content] of [["privkey", key], ["fullchain", cert]] as const) {
        await writeFile(files.path(`archive/${name}${revision}.pem`), content, { mode: 0o600 });
        await symlink(`../../archive/${name}${revision}.pem`, files.path("live/a/.new"));
        await rename(files.path("live/a/.new"), files.path(`live/a/${name}.pem`));
      }
    };
    await link(1, a1);
    const tls = await reloadTls({ folder: files.path("live"), watch: BY_EVENTS });
    await nextEvent(tls.reloader, "unchanged");
    tls.reloader.addEventListener("reject", (event) => event.preventDefault());
    tls.reloader.addEventListener("partial", (event) => event.preventDefault());
    const swapped = nextEvent(tls.reloader, "swap");
    await link(2, a2);
    await swapped;
    assertEquals(served(tls, "a.test"), a2.fingerprint256);
    // The files that the links lead to are replaced, in a folder that is not the watched one.
    const swappedBack = nextEvent(tls.reloader, "swap");
    for (const [name, content] of [["privkey", a1.key], ["fullchain", a1.cert]] as const) {
      await rename(await files.write("archive/new", content), files.path(`archive/${name}2.pem`));
    }
    await swappedBack;
    assertEquals(served(tls, "a.test"), a1.fingerprint256);
    await tls.close();
  }));

test("Reloader gives load the configuration that is served, and warns of a bad pair that no listener handles", () =>
  withFolder(async (files, folder) => {
    const load = async (previous?: TlsConfig, onError?: (error: unknown) => void) =>
      loadTlsConfig(await certificatesIn(folder, { previous, onError }));
    const state = new TlsState(await load());
    const given: unknown[] = [];
    const reloader = new Reloader(state, (current, onPartialFailure) => {
      given.push(current);
      return load(current, onPartialFailure);
    });
    const before = state.current();
    await place(files, "b", { ...b2, cert: "" });
    const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
    assertEquals((await reloader.reload()).outcome, "unchanged");
    assertEquals(given, [before]);
    assertStringIncludes((await warned).message, "b.pem");
    await reloader.close();
  }));

test("reloadTls() refuses a folder beside other certificates, and one that holds none", () =>
  withFiles(async (files) => {
    await assertRejects(() => reloadTls({ folder: "a", certifiedKeys: [] }), TypeError, "'folder' takes the place");
    await assertRejects(() => reloadTls({ folder: "a", cert: "b" }), TypeError, "'folder' takes the place");
    await assertRejects(() => reloadTls({ folder: files.path(".") }), Error, "it holds no pair of files");
  }));

test(
  "a folder is watched beside another one in it that cannot be read",
  { skip: NO_FILE_MODES },
  () =>
    withFolder(async (files, folder) => {
      for (const path of [files.path("."), folder]) await chmod(path, 0o755);
      for (const name of ["closed", "lost+found"]) await mkdir(files.path(`certs.d/${name}`), { mode: 0 });
      const look = () => asNobody(() => lookAtFolder(folder));
      const before = await look();
      assertEquals(await look(), before);
      assertEquals((await asNobody(() => placesIn(folder))).folders, [folder, files.path("certs.d/closed")]);
      await place(files, "a", a2);
      assertNotEquals(await look(), before);
    }),
);
