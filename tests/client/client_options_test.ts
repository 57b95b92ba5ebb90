import { assert, assertEquals, assertNotEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Agent } from "node:https";
import test from "node:test";
import { inspect } from "node:util";
import { loadTlsConfig, RootCertStore, TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { clientOptions } from "../../src/node.ts";
import { issueCa, issueClient } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { configOf } from "../support/peers.ts";
import { assertHidesSecrets, assertPrintsNoSecret, secret, secretKey } from "../support/secrets.ts";

const ca = await issueCa("CA");
const [first, second] = await Promise.all([
  issueClient("first", { issuer: ca }),
  issueClient("second", { issuer: ca }),
]);

test("clientOptions() gives the identity that is current at each reading", () => {
  const state = new TlsState(configOf(first));
  const tls = clientOptions(state, { ca: ca.cert });
  const before = { ...tls };
  state.swap(configOf(second));
  const after = { ...tls };
  assertEquals([before.cert.trim(), after.cert.trim()], [first.cert.trim(), second.cert.trim()]);
  assertEquals([before.key.toString().trim(), after.key.toString().trim()], [first.key.trim(), second.key.trim()]);
  assertEquals(after.ca?.map((pem) => pem.trim()), [ca.cert.trim()]);
});

test("a copy of clientOptions() has certificate, key and authorities, and no context", () => {
  const tls = clientOptions(new TlsState(configOf(first)), { ca: ca.cert });
  assertEquals(Object.keys({ ...tls }), ["cert", "key", "ca"]);
});

test("clientOptions() makes one context for each identity", () => {
  const state = new TlsState(configOf(first));
  const tls = clientOptions(state);
  const { secureContext } = tls;
  assertStrictEquals(tls.secureContext, secureContext);
  state.swap(configOf(first, { minVersion: "TLSv1.3" }));
  assertStrictEquals(tls.secureContext, secureContext);
  state.swap(configOf(second));
  assert(tls.secureContext !== secureContext);
});

test("clientOptions() takes nothing from a configuration but the default identity", async () => {
  const clients = await issueCa("authority of clients");
  const config = new TlsConfig({
    certifiedKeys: [first, second].map(({ cert, key }) => ({ cert, key })),
    alpnProtocols: ["h2"],
    minVersion: "TLSv1.3",
    clientAuth: { ca: clients.cert, mode: "required" },
  });
  const options = { ...clientOptions(new TlsState(config)) };
  assertEquals(Object.keys(options), ["cert", "key"]);
  assertEquals(options.cert.trim(), first.cert.trim());
});

test("clientOptions() accepts a store of roots, and cleans PEM", () => {
  const state = new TlsState(configOf(first));
  const store = new RootCertStore(new Map(), [], []).with(ca.cert);
  assertEquals(clientOptions(state, { ca: store }).ca, store.pem);
  const dirty = `Subject: CN=CA\r\n${ca.cert.replaceAll("\n", "\r\n")}`;
  assertEquals(clientOptions(state, { ca: dirty }).ca?.map((pem) => pem.trim()), [ca.cert.trim()]);
});

test("clientOptions() refuses what is no state, no option and no authority", () => {
  const state = new TlsState(configOf(first));
  assertThrows(() => clientOptions(state.current() as never), TypeError, "'state' must be a TlsState: a TlsConfig");
  assertThrows(() => clientOptions(state, { roots: ca.cert } as never), TypeError, "use ca");
  assertThrows(() => clientOptions(state, ca.cert as never), TypeError, "its options must be an object");
  for (const wrong of [[ca.cert], { pem: [ca.cert] }, Promise.resolve(ca.cert), 5, null]) {
    assertThrows(() => clientOptions(state, { ca: wrong as never }), TypeError, "'ca' must be PEM or a RootCertStore");
  }
  const broken = ca.cert.replace("-----END CERTIFICATE-----", "");
  for (const [text, code] of [["", "NO_CERTIFICATE"], [first.key, "NO_CERTIFICATE"], [broken, "PEM_INVALID"]]) {
    assertEquals(assertThrows(() => clientOptions(state, { ca: text! }), TlsReloadError).code, code);
  }
});

test("clientOptions() shows no byte of the key, alone, in a copy, in a text, and in the names of an agent", () => {
  const tls = clientOptions(new TlsState(configOf(first)), { ca: ca.cert });
  secret(secretKey(first.key));
  for (const value of [tls, { ...tls }, tls.key, `${tls.key}`, tls.secureContext]) {
    assertPrintsNoSecret(value);
    if (value !== tls.key && value !== tls.secureContext) assertHidesSecrets(value);
  }
  const agent = new Agent({ keepAlive: true, ...tls });
  const name = agent.getName({ host: "localhost", port: 443, ...tls });
  assert(name.includes("[private key]"), name);
  assertHidesSecrets(name);
  assertPrintsNoSecret(agent);
  assertNotEquals(inspect(agent), "");
});

test("a certificate for clients alone can be loaded, and be the identity of a client", () =>
  withFiles(async (files) => {
    const { cert, key } = await issueClient("for clients alone", { issuer: ca, names: [] });
    const paths = [await files.write("client.pem", cert), await files.write("client.key", key)] as const;
    const tls = clientOptions(new TlsState(await loadTlsConfig(...paths)));
    assertEquals(tls.cert.trim(), cert.trim());
  }));
