import { assert, assertEquals, assertThrows } from "@std/assert";
import type { JsonGeneralName } from "@peculiar/x509";
import test from "node:test";
import { connect } from "node:tls";
import { serve, tlsOptions } from "../../src/bun.ts";
import { TlsConfig, type TlsConfigOptions, TlsReloadError, TlsState } from "../../mod.ts";
import { issue, type Issued, type IssueOptions } from "../support/certificates.ts";
import { runtimeName } from "../support/runtimes.ts";

function issueFor(commonName: string, names: readonly string[], options: IssueOptions = {}): Promise<Issued> {
  const all: JsonGeneralName[] = names.map((value) => ({ type: /^\d/.test(value) ? "ip" : "dns", value }));
  return issue(commonName, { names: all, ...options });
}

const rsa = { algorithm: "RSA" } as const;
const past = { notBefore: new Date(2000, 0), notAfter: new Date(2001, 0) };
const standard = await issueFor("default", ["d.test", "127.0.0.1"]);
const exact = await issueFor("exact", ["x.w.test"]);
const expiredRsa = await issueFor("expired RSA", ["*.w.test"], { ...rsa, ...past });
const wildcardRsa = await issueFor("wildcard RSA", ["*.w.test"], rsa);
const wildcardEc = await issueFor("wildcard EC", ["*.W.test."]);
const all = [standard, exact, expiredRsa, wildcardRsa, wildcardEc];

function configOf(issued: readonly Issued[], options: TlsConfigOptions<string> = {}): TlsConfig {
  return new TlsConfig({ ...options, certifiedKeys: issued.map(({ cert, key }) => ({ cert, key })) });
}

/** Which certificate Bun serves. */
function commonName(port: number, name: string | undefined, options: object = {}): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const servername = name === undefined ? {} : { servername: name };
    const client = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...servername, ...options });
    client.once("secureConnect", () => {
      resolve(client.getPeerCertificate().subject.CN?.toString());
      client.destroy();
    }).once("error", reject);
  });
}

test("tlsOptions() merges the keys of one name, one of each kind", () => {
  const entries = tlsOptions(configOf(all, { alpnProtocols: ["http/1.1"] }));
  assert(Array.isArray(entries));
  assertEquals(entries.map(({ serverName }) => serverName), [undefined, "d.test", "x.w.test", "*.w.test"]);
  assertEquals(entries.map(({ cert }) => Array.isArray(cert) ? cert.length : 1), [1, 1, 1, 2]);
  // The valid RSA certificate, not the one that has expired.
  assertEquals(
    entries[3]!.cert,
    [wildcardRsa, wildcardEc].map(({ cert }) => new TlsConfig({ cert, key: keyOf(cert) }).leaf.pem),
  );
  assert(entries.every(({ ALPNProtocols, requestCert }) => ALPNProtocols && !requestCert));
  assert(!JSON.stringify(entries).includes("BEGIN PRIVATE KEY"));
});

function keyOf(cert: string): string {
  return all.find((issued) => issued.cert === cert)!.key;
}

test("tlsOptions() refuses choices that Bun.serve does not make", async () => {
  const address = await issueFor("address", ["127.0.0.1"]);
  const refused = (config: TlsConfig, message: string) => {
    assertEquals(assertThrows(() => tlsOptions(config), TlsReloadError, message).code, "UNSUPPORTED");
  };
  refused(configOf(all, { unknownName: "refuse" }), "cannot refuse unknown names");
  refused(configOf([standard], { unknownName: "refuse" }), "cannot refuse unknown names");
  refused(configOf([exact, address]), "does not choose by the local address, which CN=address holds");
});

test("serve() serves each name its certificate, and swaps all of them at once", async () => {
  // On other runtimes serve() of ./bun is UNSUPPORTED, which its own test shows.
  if (!runtimeName().startsWith("bun")) return;
  const state = new TlsState(configOf(all));
  const server = await serve(state, { port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
  const port = server.port!;
  assertEquals(await commonName(port, "d.test"), "default");
  assertEquals(await commonName(port, "x.w.test"), "exact");
  assertEquals(await commonName(port, "Y.W.TEST."), "wildcard EC");
  assertEquals(await commonName(port, "unknown.test"), "default");
  assertEquals(await commonName(port, undefined), "default");
  const rsaOnly = { maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-AES128-GCM-SHA256" };
  assertEquals(await commonName(port, "y.w.test", rsaOnly), "wildcard RSA");

  const renewed = await issueFor("renewed", ["*.w.test"]);
  const swapped = new Promise<void>((resolve) => state.subscribe(() => resolve()));
  state.swap(configOf([standard, renewed]));
  await swapped;
  assertEquals(await commonName(port, "x.w.test"), "renewed");
  await server.stop(true);
});
