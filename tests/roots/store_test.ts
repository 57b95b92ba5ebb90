import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import test from "node:test";
import { Certificate, parseCertificates, TlsReloadError } from "../../mod.ts";
import { NativeRootsError } from "../../src/errors.ts";
import { loadRoots } from "../../src/roots/load.ts";
import type { RootCertStore } from "../../src/roots/store.ts";
import { issueCa } from "../support/certificates.ts";
import { withFiles } from "../support/files.ts";
import { systemOf } from "../support/root_system.ts";

const YESTERDAY = new Date(Date.now() - 86_400_000);
const [a, b, company] = await Promise.all([issueCa("a"), issueCa("b"), issueCa("company")]);
const expired = await issueCa("expired", { notBefore: new Date(0), notAfter: YESTERDAY });

function storeOf(pem: string): Promise<RootCertStore> {
  return withFiles(async ({ write }) => {
    const store = await loadRoots(systemOf({ SSL_CERT_FILE: await write("roots.pem", pem) }));
    store.pem; // the file goes, the store does not need it
    return store;
  });
}

function subjects(store: RootCertStore): string[] {
  return [...store].map(({ subject }) => subject);
}

test("RootCertStore has its roots as facts, PEM, one text and fingerprints", async () => {
  const store = await storeOf(a.cert + b.cert + a.cert);
  assertEquals(store.size, 2);
  assertEquals(subjects(store), ["CN=a", "CN=b"]);
  assert([...store].every((certificate) => certificate instanceof Certificate));
  assertEquals(store.pem.map((pem) => parseCertificates(pem).map(({ pem }) => pem)), [[store.pem[0]!], [
    store.pem[1]!,
  ]]);
  assertEquals(parseCertificates(store.bundle).map(({ fingerprint256 }) => fingerprint256), [
    a.fingerprint256,
    b.fingerprint256,
  ]);
  for (const form of [a.fingerprint256, a.fingerprint256.toLowerCase(), a.fingerprint256.replaceAll(":", "")]) {
    assertEquals([store.has(form), store.has(company.fingerprint256)], [true, false]);
  }
});

test("RootCertStore cannot be changed", async () => {
  const store = await storeOf(a.cert + b.cert);
  for (const object of [store, store.pem, store.sources, store.warnings]) assert(Object.isFrozen(object));
  assertStrictEquals(store.pem, store.pem);
  assertStrictEquals([...store][0], [...store][0]);
  assertStrictEquals(store.secureContext(), store.secureContext());
});

test("RootCertStore.with() returns a new store with the roots of a company", async () => {
  const store = await storeOf(a.cert);
  const both = store.with(company.cert + a.cert);
  assertEquals([subjects(store), subjects(both)], [["CN=a"], ["CN=a", "CN=company"]]);
  assertEquals(both.sources.at(-1), { origin: "added", path: undefined, certificates: 2 });
  assertEquals([store.has(company.fingerprint256), both.has(company.fingerprint256)], [false, true]);
  assert(both.secureContext() !== store.secureContext());
  assertThrows(() => store.with("no certificate"), TlsReloadError);
  assertThrows(() => store.with(company.cert.replace(/-----END.*\n/, "")), TlsReloadError);
});

test("RootCertStore.valid() leaves out expired roots and keeps the rest", async () => {
  const store = await storeOf(a.cert + expired.cert);
  assertEquals([store.size, store.has(expired.fingerprint256)], [2, true]);
  const valid = store.valid();
  assertEquals([subjects(valid), valid.sources], [["CN=a"], store.sources]);
  assertEquals(subjects(store.valid(new Date(YESTERDAY.getTime() - 1000))), ["CN=expired"]);
  assertStrictEquals(valid.valid(), valid);
});

test("RootCertStore.valid() throws instead of returning an empty store, which Bun would replace by its own roots", async () => {
  const store = await storeOf(expired.cert);
  assertThrows(() => store.valid(), NativeRootsError, "none of the 1 is valid at");
});

test("RootCertStore lists sections that are not X.509 certificates", async () => {
  const store = await storeOf(a.cert + b.cert.replace(/^M/m, "A"));
  assertEquals([subjects(store), store.pem.length], [["CN=a"], 1]);
  assertEquals(store.warnings.map(({ code }) => code), ["CERTIFICATE_INVALID"]);
  assertEquals([store.with(company.cert).warnings, store.with(company.cert).size], [store.warnings, 2]);
  await assertRejects(() => storeOf(b.cert.replace(/^M/m, "A")), NativeRootsError);
});

test("RootCertStore prints its size, its sources and its warnings", async () => {
  const store = await storeOf(a.cert);
  const { size, sources, warnings } = JSON.parse(JSON.stringify(store));
  assertEquals([size, sources.length, warnings], [1, 1, []]);
});
