import { assert, assertEquals, assertRejects } from "@std/assert";
import test from "node:test";
import { type Certificate, type Expectation, loadTlsConfig, TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { findingsOf } from "../../src/config/config_findings.ts";
import { requireExpected } from "../../src/config/expectation.ts";
import { uncoveredNames } from "../../src/findings/names.ts";
import { Reloader, reloadTls } from "../../src/reload.ts";
import { issueServer } from "../support/certificates.ts";
import { makeAuthority, makeLeaf } from "../support/chains.ts";
import { makeCrl } from "../support/crls.ts";
import { general, type Made, rsaKey } from "../support/made_certificates.ts";
import { withFiles } from "../support/files.ts";

const DAY_MS = 86_400_000;
const root = makeAuthority("root");
const intermediate = makeAuthority("intermediate", { issuer: root });
const good = makeLeaf(intermediate);
const another = makeLeaf(intermediate, { subject: "mail.example.com", names: [general.dns("mail.example.com")] });
const keyOf = ({ key }: Made) => key.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const pairOf = (leaf: Made) => ({ cert: leaf.pem + intermediate.pem, key: keyOf(leaf) });
const configOf = (leaf: Made) => new TlsConfig(pairOf(leaf));
const DIGITAL_SIGNATURE_MISSING = makeLeaf(intermediate, { keyUsage: 0x20, key: rsaKey() });

async function refusalOf(leaf: Made, expect: Expectation): Promise<string> {
  const error = await assertRejects(() => requireExpected(configOf(leaf), expect), TlsReloadError);
  assertEquals(error.code, "EXPECTATION_FAILED");
  return error.message;
}

test("requireExpected() refuses what lacks a name, is valid too short, or has worse findings, and names it", async () => {
  await requireExpected(configOf(good), {
    names: ["www.example.com"],
    minRemainingMs: 79 * DAY_MS,
    maxSeverity: "note",
  });
  assert((await refusalOf(another, { names: ["www.example.com"] })).endsWith("no certificate is for www.example.com"));
  // A link-local address as the system shows it.
  assert((await refusalOf(good, { names: ["fe80::1%eth0"] })).endsWith("no certificate is for fe80::1%eth0"));
  assert((await refusalOf(good, { minRemainingMs: 81 * DAY_MS })).includes('"CN=www.example.com" is valid only until'));
  assert(
    (await refusalOf(DIGITAL_SIGNATURE_MISSING, { maxSeverity: "warning" })).includes(
      "KEY_USAGE_WITHOUT_DIGITAL_SIGNATURE",
    ),
  );
  await requireExpected(configOf(DIGITAL_SIGNATURE_MISSING), { maxSeverity: "error" });
});

test("requireExpected() looks at all certified keys", async () => {
  const config = new TlsConfig({ certifiedKeys: [pairOf(good), pairOf(another)] });
  await requireExpected(config, { names: ["www.example.com", "mail.example.com"], maxSeverity: "note" });
  // A name that none is for is reported once.
  assertEquals((await findingsOf(config, { names: ["mail.example.com", "none.example"] })).map(({ code }) => code), [
    "NAME_NOT_COVERED",
  ]);
});

test("findingsOf() looks at the revocation lists of client authorities and of listed intermediates", async () => {
  const listOf = (authority: Made, nextUpdate: Date) =>
    makeCrl({ cert: authority.pem, key: keyOf(authority) }, { nextUpdate }).toString();
  const in30Days = new Date(Date.now() + 30 * DAY_MS);
  const stale = listOf(intermediate, new Date(Date.now() - 1000));
  const clientAuth = (
    ...crl: readonly string[]
  ) => ({ mode: "required", ca: root.pem, intermediates: intermediate.pem, crl } as const);
  const config = new TlsConfig({ ...pairOf(good), clientAuth: clientAuth(listOf(root, in30Days), stale) });
  assertEquals((await findingsOf(config)).map(({ code, subject }) => [code, subject]), [[
    "CRL_STALE",
    "CN=intermediate",
  ]]);
  const error = await assertRejects(() => requireExpected(config, { maxSeverity: "warning" }), TlsReloadError);
  assertEquals(error.code, "EXPECTATION_FAILED");
  const current = [root, intermediate].map((authority) => listOf(authority, in30Days));
  assertEquals(await findingsOf(new TlsConfig({ ...pairOf(good), clientAuth: clientAuth(...current) })), []);
});

test("uncoveredNames() reads each certificate once, however many names are expected", () => {
  let readings = 0;
  const readNames = (index: number) => {
    readings++;
    return [`n${index}.test`, `*.w${index}.test`];
  };
  const leaf = configOf(good).leaf;
  const leaves = Array.from(
    { length: 1_000 },
    (_, index) => Object.create(leaf, { dnsNames: { get: () => readNames(index) } }) as Certificate,
  );
  const names = leaves.flatMap((_, index) => [`N${index}.test.`, `a.w${index}.test`]);
  assertEquals(uncoveredNames(leaves, [...names, "a.b.w1.test", ".w1.test"]), ["a.b.w1.test", ".w1.test"]);
  assertEquals(readings, leaves.length);
});

test("loadTlsConfig() refuses at load, and refuses expectations that are none", async () => {
  await withFiles(async (files) => {
    const { cert, key } = pairOf(another);
    const paths = [await files.write("cert.pem", cert), await files.write("key.pem", key)] as const;
    const error = await assertRejects(
      () => loadTlsConfig(...paths, { expect: { names: ["www.example.com"] } }),
      TlsReloadError,
    );
    assertEquals([error.code, error.path], ["EXPECTATION_FAILED", paths[0]]);
    const list = [{ cert: paths[0], key: paths[1] }];
    await assertRejects(() => loadTlsConfig(list, { expect: { minRemainingMs: 81 * DAY_MS } }), TlsReloadError);
    await loadTlsConfig(list, { expect: { names: ["mail.example.com"] } });
    await loadTlsConfig(list, { expect: { names: ["MAIL.example.com."] } });
    const bad: readonly unknown[] = [{ name: [] }, { names: "a" }, { names: [key] }, { minRemainingMs: -1 }, {
      minRemainingMs: NaN,
    }, {
      maxSeverity: "none",
    }, 1];
    for (const expect of bad) {
      await assertRejects(() => loadTlsConfig(...paths, { expect: expect as Expectation }), TypeError);
    }
  });
});

test("Reloader rejects what is not expected, keeps what is served, and takes the next one that is", async () => {
  const state = new TlsState(configOf(good));
  const first = state.current();
  let next = configOf(another);
  const lines: string[] = [];
  const log = (line: string) => void lines.push(line);
  const reloader = new Reloader(state, () => Promise.resolve(next), {
    expect: { names: ["www.example.com"] },
    logger: { debug: log, info: log, warn: log, error: log },
  });
  const result = await reloader.reload();
  assert(result.outcome === "rejected");
  assertEquals((result.error as TlsReloadError).code, "EXPECTATION_FAILED");
  assertEquals(state.current(), first);
  next = configOf(makeLeaf(intermediate));
  assertEquals((await reloader.reload()).outcome, "swapped");
  assert(lines.some((line) => line.includes("code=EXPECTATION_FAILED")));
  await reloader.close();
});

test("reloadTls() refuses at its start and at reloads", async () => {
  await withFiles(async (files) => {
    const write = async (leaf: Made) => {
      const { cert, key } = pairOf(leaf);
      return { cert: await files.write("cert.pem", cert), key: await files.write("key.pem", key) };
    };
    const expect = { names: ["www.example.com"] };
    const wrong = await write(another);
    await assertRejects(() => reloadTls({ ...wrong, expect, watch: false }), TlsReloadError);
    const tls = await reloadTls({ ...await write(good), expect, watch: false, logger: silent() });
    await write(another);
    assertEquals((await tls.reloader.reload()).outcome, "rejected");
    assertEquals(tls.state.generation, 0);
    await tls.close();
  });
});

function silent() {
  const log = () => {};
  return { debug: log, info: log, warn: log, error: log };
}

test("a swap says which names, keys, issuers and client authorities are others, and nothing at a renewal", async () => {
  const state = new TlsState(configOf(good));
  let next = configOf(makeLeaf(intermediate));
  const lines: string[] = [];
  const logger = { debug: () => {}, warn: () => {}, error: () => {}, info: (line: string) => void lines.push(line) };
  const reloader = new Reloader(state, () => Promise.resolve(next), { logger });
  const renewed = await reloader.reload();
  assert(renewed.outcome === "swapped");
  assertEquals(renewed.changes, {});

  const foreign = await issueServer("foreign", { algorithm: "RSA" });
  next = new TlsConfig({ cert: foreign.cert, key: foreign.key, clientAuth: { mode: "required", ca: root.pem } });
  const { fingerprint256 } = next.clientAuth!.ca[0]!;
  const swapped = await reloader.reload();
  assert(swapped.outcome === "swapped");
  assertEquals(swapped.changes, {
    names: { added: ["localhost", "127.0.0.1"], removed: ["www.example.com"] },
    keyTypes: { added: ["rsa 2048"], removed: ["P-256"] },
    issuers: { added: ["CN=foreign"], removed: ["CN=intermediate"] },
    authorities: { added: [`CN=root ${fingerprint256}`], removed: [] },
  });
  assert(lines[0] && !/Added|Removed/.test(lines[0]), lines[0]);
  assert(lines[1]?.includes("namesAdded=localhost,127.0.0.1 namesRemoved=www.example.com"), lines[1]);
  await reloader.close();
});
