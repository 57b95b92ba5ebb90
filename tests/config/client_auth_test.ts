import { assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import test from "node:test";
import { loadTlsConfig, type TlsConfig, type TlsConfigInit, TlsReloadError } from "../../mod.ts";
import {
  configDigestOf,
  digestOf,
  sessionDigestOf,
  settingsDigestOf,
  trustDigestOf,
} from "../../src/config/digests.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { configOf } from "../support/peers.ts";

const server = await issueServer("server");
const [authority, other] = [await issueCa("authority"), await issueCa("other")];
const intermediate = await issueCa("intermediate", { issuer: authority });
const revoked = await issueClient("revoked", { issuer: authority });
const list = makeCrl(authority, { revoked: [revoked] });
const derOfIntermediate = makeCrl(intermediate, { format: "DER" });
const withAuth = (options: Partial<NonNullable<TlsConfigInit["clientAuth"]>> = {}) =>
  configOf(server, { clientAuth: { mode: "required", ca: authority.cert + other.cert, ...options } });

test("TlsConfig.toJSON() counts the entries of revocation lists and leaves out defaults", () => {
  const { clientAuth } = JSON.parse(JSON.stringify(withAuth({ crl: list, requireCrl: true, staleCrl: "accept" })));
  const [facts] = clientAuth.crl;
  assertEquals([facts.issuer, facts.size, clientAuth.requireCrl, clientAuth.staleCrl], [
    "CN=authority",
    1,
    true,
    "accept",
  ]);
  assertEquals(Object.keys(withAuth().toJSON().clientAuth!), ["mode", "ca"]);
});

test("TlsConfig reads lists in PEM and DER, several in one source, each once, and verifies each", () => {
  const intermediates = intermediate.cert;
  const config = withAuth({ crl: [`${list}${makeCrl(other)}`, derOfIntermediate, list], intermediates });
  assertEquals(config.clientAuth!.crl.map(({ issuer }) => issuer), ["CN=authority", "CN=other", "CN=intermediate"]);
  const impostor = { cert: authority.cert, key: other.key };
  const forged = new Uint8Array(makeCrl(authority, { format: "DER" }));
  forged[forged.length - 1]! ^= 1;
  for (const crl of [forged, derOfIntermediate]) {
    assertEquals(assertThrows(() => withAuth({ crl }), TlsReloadError).code, "CRL_INVALID");
  }
  assertThrows(() => makeCrl(impostor), Error);
  assertEquals(assertThrows(() => withAuth({ crl: "no list" }), TlsReloadError).code, "CRL_INVALID");
});

test("TlsConfig refuses options of revocation that are none of their allowed values", () => {
  for (const options of [{ requireCrl: "yes" }, { staleCrl: "ignore" }, { crls: list }]) {
    assertThrows(() => withAuth(options as never), TypeError);
  }
});

test("digests depend on revocation, except those that sessions and contexts depend on", () => {
  const configs: TlsConfig[] = [
    withAuth(),
    withAuth({ crl: list }),
    withAuth({ crl: [list, makeCrl(other)] }),
    withAuth({ requireCrl: true }),
    withAuth({ staleCrl: "accept" }),
    withAuth({ intermediates: intermediate.cert }),
  ];
  for (const digest of [digestOf, configDigestOf, trustDigestOf]) {
    assertEquals(new Set(configs.map(digest)).size, configs.length, digest.name);
    assertEquals(digest(withAuth({ crl: list })), digest(configs[1]!));
  }
  for (const digest of [settingsDigestOf, sessionDigestOf]) assertEquals(new Set(configs.map(digest)).size, 1);
  assertNotEquals(trustDigestOf(configOf(server)), trustDigestOf(configs[0]!));
});

test("loadTlsConfig() reads revocation lists and intermediates from their paths", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
  const files = { cert: server.cert, key: server.key, ca: authority.cert, crl: list, der: derOfIntermediate };
  for (const [name, content] of Object.entries({ ...files, intermediate: intermediate.cert })) {
    await writeFile(join(folder, name), content);
  }
  const path = (name: string) => join(folder, name);
  const load = (crl: string | string[]) =>
    loadTlsConfig(path("cert"), path("key"), {
      clientAuth: { mode: "required", ca: path("ca"), crl, intermediates: path("intermediate") },
    });
  try {
    assertEquals((await load([path("crl"), path("der")])).clientAuth!.crl.map(({ size }) => size), [1, 0]);
    const missing = await load(path("missing")).catch((error) => error);
    assertEquals([missing.code, missing.path], ["FILE_NOT_FOUND", path("missing")]);
    const pem = await load(`${list}`).catch((error) => error);
    assertMatch(String(pem), /^TypeError: .*'clientAuth.crl' is PEM text, not a path: use TlsConfig$/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
