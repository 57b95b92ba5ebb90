import { assert, assertEquals, assertRejects } from "@std/assert";
import { rename, writeFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import { loadTlsConfig, TlsReloadError } from "../../mod.ts";
import { reloadTls, type ReloadTlsOptions } from "../../src/reload.ts";
import { issueCa, type Issued, type IssueOptions, issueServer } from "../support/certificates.ts";
import { type TestFiles, withFiles } from "../support/files.ts";
import { echoServer, visit } from "../support/peers.ts";
import { assertHidesSecrets, secretKey } from "../support/secrets.ts";
import { BY_EVENTS, BY_POLLING, nextEvent } from "./rotating_files.ts";

const [first, second] = await Promise.all([issueServer("first"), issueServer("second")]);

async function write(files: TestFiles, { cert, key }: Issued): Promise<{ cert: string; key: string }> {
  return { cert: await files.write("cert", cert), key: await files.write("key", key) };
}

async function replace(path: string, content: string): Promise<void> {
  await writeFile(`${path}.new`, content);
  await rename(`${path}.new`, path);
}

for (const [way, watch] of [["events", BY_EVENTS], ["polling", BY_POLLING]] as const) {
  test(`reloadTls() serves, and serves what replaces its files, seen by ${way}`, () =>
    withFiles(async (files) => {
      const paths = await write(files, first);
      const tls = await reloadTls({ ...paths, watch });
      const server = await echoServer(tls.state);
      assertEquals((await visit(server.port)).fingerprint256, first.fingerprint256);
      await nextEvent(tls.reloader, "unchanged");
      const swapped = nextEvent(tls.reloader, "swap");
      await replace(paths.key, second.key);
      await replace(paths.cert, second.cert);
      tls.reloader.addEventListener("reject", (event) => event.preventDefault());
      await swapped;
      assertEquals((await visit(server.port)).fingerprint256, second.fingerprint256);
      assertEquals([tls.status().generation, tls.status().inSync], [1, true]);
      secretKey(first.key);
      secretKey(second.key);
      assertHidesSecrets(tls);
      await server[Symbol.asyncDispose]();
      await tls.close();
    }));
}

test("reloadTls() watches the client authorities too, and passes every other option on", () =>
  withFiles(async (files) => {
    const [authority, successor] = [await issueCa("authority"), await issueCa("successor")];
    const paths = await write(files, first);
    const ca = await files.write("ca", authority.cert);
    const options: ReloadTlsOptions = {
      ...paths,
      alpnProtocols: ["h2"],
      minVersion: "TLSv1.3",
      clientAuth: { ca, mode: "required" },
      watch: BY_EVENTS,
    };
    const tls = await reloadTls(options);
    const { alpnProtocols, minVersion, clientAuth } = tls.state.current();
    assertEquals([alpnProtocols, minVersion, clientAuth?.mode], [["h2"], "TLSv1.3", "required"]);
    await nextEvent(tls.reloader, "unchanged");
    const swapped = nextEvent(tls.reloader, "swap");
    await replace(ca, authority.cert + successor.cert);
    assertEquals((await swapped).detail.config.clientAuth?.ca.length, 2);
    assertEquals(tls.status().watches[0]!.paths, [paths.cert, paths.key, ca]);
    await tls[Symbol.asyncDispose]();
  }));

test("reloadTls() reloads on a signal if asked to, and does not watch with 'watch: false'", {
  skip: process.platform === "win32" && "Windows has no signals",
}, () =>
  withFiles(async (files) => {
    const paths = await write(files, first);
    const tls = await reloadTls({ ...paths, watch: false, onSignal: "SIGHUP" });
    assertEquals(tls.status().watches, []);
    const swapped = nextEvent(tls.reloader, "swap");
    await write(files, second);
    process.kill(process.pid, "SIGHUP");
    assertEquals((await swapped).detail.config.leaf.fingerprint256, second.fingerprint256);
    await tls.close();
  }));

test("reloadTls() rejects as loadTlsConfig() does, and leaves nothing open", () =>
  withFiles(async (files) => {
    const paths = await write(files, { ...first, key: second.key });
    const expected = await assertRejects(() => loadTlsConfig(paths.cert, paths.key), TlsReloadError);
    const error = await assertRejects(() => reloadTls(paths), TlsReloadError);
    assertEquals([error.code, error.message, error.code], [expected.code, expected.message, "KEY_MISMATCH"]);
    await write(files, first);
    const noSignal = await assertRejects(() => reloadTls({ ...paths, onSignal: "SIGKILL" }), TlsReloadError);
    assertEquals(noSignal.code, "UNSUPPORTED");
    for (
      const [options, message] of [
        [{ ...paths, certs: "x" }, "cert"],
        [{ ...paths, requestCert: true }, "clientAuth"],
        [{ ...paths, watch: { poll: 1 } }, "pollIntervalMs"],
        [{ ...paths, watch: { pollIntervalMs: 0 } }, "pollIntervalMs"],
        [{ ...paths, cert: first.cert }, "PEM"],
        [{ cert: paths.cert }, "key"],
      ] as const
    ) {
      const error = await assertRejects(() => reloadTls(options as never), TypeError);
      assert(error.message.includes(message), error.message);
    }
  }));

test("reloadTls() takes many names, watches all of their files, and keeps a valid certificate rather than an invalid one", () =>
  withFiles(async (files) => {
    const issueFor = (name: string, times: IssueOptions = {}) => {
      return issueServer(name, { names: [{ type: "dns", value: `${name}.test` }], ...times });
    };
    const write = async (name: string, { cert, key }: Issued) => {
      return { cert: await files.write(`${name}.crt`, cert), key: await files.write(`${name}.key`, key) };
    };
    const [a, b] = [await issueFor("a"), await issueFor("b")];
    const certifiedKeys = [await write("a", a), await write("b", b)];
    const tls = await reloadTls({ certifiedKeys, watch: false });
    tls.reloader.addEventListener("reject", (event) => event.preventDefault());
    const served = () => tls.state.current().certifiedKeys.map(({ leaf }) => leaf.fingerprint256);
    assertEquals(served(), [a.fingerprint256, b.fingerprint256]);
    const hour = 3_600_000;
    const expired = { notBefore: new Date(Date.now() - 2 * hour), notAfter: new Date(Date.now() - hour) };
    await write("b", await issueFor("b", expired));
    const rejected = await tls.reloader.reload();
    assert(rejected.outcome === "rejected");
    assertEquals((rejected.error as TlsReloadError).code, "CERTIFICATE_EXPIRED");
    const ahead = { notBefore: new Date(Date.now() + hour), notAfter: new Date(Date.now() + 2 * hour) };
    await write("b", await issueFor("b", ahead));
    assertEquals((await tls.reloader.reload()).outcome, "pending");
    const renewed = await issueFor("b");
    await write("b", renewed);
    assertEquals((await tls.reloader.reload()).outcome, "swapped");
    assertEquals(served(), [a.fingerprint256, renewed.fingerprint256]);
    assertEquals(tls.status().certificates.map(({ names }) => names), [["a.test"], ["b.test"]]);
    await tls.close();
    const watching = await reloadTls({ certifiedKeys, watch: BY_EVENTS });
    assertEquals(watching.status().watches[0]!.paths, certifiedKeys.flatMap(({ cert, key }) => [cert, key]));
    await watching.close();
    const both = { certifiedKeys, cert: "cert" };
    assert((await assertRejects(() => reloadTls(both), TypeError)).message.includes("takes the place of 'cert'"));
  }));
