import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import test from "node:test";
import {
  encodePem,
  parseCertificates,
  parsePem,
  parsePrivateKey,
  proveTlsConfig,
  TlsConfig,
  TlsReloadError,
} from "../../mod.ts";
import { mutated } from "./mutations.ts";
import { der, PASSPHRASE, type Seeds, seeds, serverPem } from "./seeds.ts";
import { closeAcceptor, type Target, targets } from "./targets.ts";

const CORPUS = new URL("corpus/", import.meta.url);
const all = Object.entries(targets) as [keyof Seeds, Target][];

test("the seeds are sound, so that there is something to break", async () => {
  const { pem, chain, keyFile } = seeds();
  for (const each of pem) assert(parsePem(each).length > 0);
  for (const each of chain) assert(parseCertificates(each).length > 0);
  for (const each of keyFile) parsePrivateKey(each, PASSPHRASE);
  await proveTlsConfig(new TlsConfig(serverPem()));
});

test("the corpus has a folder for no target that is not there", async () => {
  for (const folder of await readdir(CORPUS)) assert(folder in targets, folder);
});

for (const [name, target] of all) {
  test(`${name}: what was found once is not found again`, async () => {
    const folder = new URL(`${name}/`, CORPUS);
    const files = await readdir(folder).catch(() => []);
    for (const each of seeds()[name]) await target(each);
    for (const file of files) await target(await readFile(new URL(file, folder)));
    await closeAcceptor();
  });

  test(`${name}: keeps its promises for what is nearly sound`, async () => {
    const property = fc.asyncProperty(mutated(seeds()[name]), async (input) => await target(input));
    await fc.assert(property, { seed: 1, numRuns: name === "acceptor" ? 200 : 500 });
    await closeAcceptor();
  });
}

test("TlsConfig throws nothing but TlsReloadError for a certificate or a key that is nearly sound", () => {
  const sound = serverPem();
  const [cert, key] = [sound.cert, sound.key].map((pem) => parsePem(pem)[0]!.der);
  const attempt = (cert: Uint8Array, key: Uint8Array) => {
    try {
      new TlsConfig({ cert, key });
    } catch (error) {
      // In DER, so that what is broken beyond recognition is not PEM.
      assert(error instanceof TlsReloadError, String(error));
    }
  };
  fc.assert(fc.property(mutated([cert!]), (changed) => attempt(changed, key!)), { seed: 1, numRuns: 3000 });
  fc.assert(fc.property(mutated([key!]), (changed) => attempt(cert!, changed)), { seed: 1, numRuns: 3000 });
});

/** Found in keys, which are not to be kept as files: what was found, made of a sound key. */
const FOUND_IN_KEYS: Record<string, () => string | Uint8Array> = {
  "a Proc-Type of no known version": () => legacyKey().replace("4,ENCRYPTED", "8,ENCRYPTED"),
  "headers in another order": () => legacyKey().replace(/^(Proc.*\n)(DEK.*\n)/m, "$2$1"),
  "a salt of scrypt that two numbers follow": () => changed("scrypt", "020110 020101 020101", "020110 000101 020101"),
  "a PBKDF2 whose number is none": () => changed("pbkdf2", "020102 300c", "000102 300c"),
};

function legacyKey(): string {
  const text = seeds().keyFile.map((each) => Buffer.from(each).toString()).find((each) => each.includes("Proc-Type"));
  assert(text);
  return text;
}

/** A sound encrypted key with one value in the place of another. */
function changed(what: string, from: string, to: string): string {
  const [before, after] = [from, to].map((text) => text.replaceAll(" ", ""));
  const keys = seeds().keyFile.flatMap((each) => parsePem(each)).filter(({ label }) => label.startsWith("ENCRYPTED"));
  const found = keys.map(({ der }) => Buffer.from(der).toString("hex")).find((text) => text.includes(before!));
  assert(found, what);
  return encodePem({ label: "ENCRYPTED PRIVATE KEY", der: Buffer.from(found.replace(before!, after!), "hex") });
}

for (const [what, make] of Object.entries(FOUND_IN_KEYS)) {
  test(`parsePrivateKey() refuses ${what}`, () => {
    const error = assertThrows(() => parsePrivateKey(make(), PASSPHRASE), TlsReloadError);
    assertEquals(error.code, "KEY_UNSUPPORTED");
  });
}

const BEGIN = "-----BEGIN CERTIFICATE-----\n";
const repeated = (part: string | Uint8Array) => (count: number) => Buffer.concat(Array(count).fill(Buffer.from(part)));
const [certificate, , , , crlf] = seeds().chain.map((each) => Buffer.from(each).toString());
const inExtensions = (value: Uint8Array) => (count: number) => {
  const many = Buffer.concat(Array(count).fill(value));
  return der(0x30, der(0x30, der(0x02, Buffer.from([1])), der(0x30), der(0x30, many), der(0x30), der(0x30, many)));
};

/** What a reader might take more than linear time for: its parts, and how many of them there are at first. */
const GROWING: readonly [target: keyof Seeds, what: string, make: (count: number) => Uint8Array, count: number][] = [
  ["pem", "sections without END", repeated(BEGIN), 4_000],
  ["pem", "dashes", repeated("-"), 100_000],
  ["pem", "dashes and white space", repeated("--  \v"), 20_000],
  ["pem", "headers", (count) => Buffer.concat([Buffer.from(BEGIN), repeated("A: b\n")(count)]), 20_000],
  ["chain", "certificates", repeated(certificate!), 50],
  ["keyFile", "a header of white space", (count) => {
    return Buffer.from(legacyKey().replace(/^DEK-Info:.*$/m, `DEK-Info:${" ".repeat(count)}x`));
  }, 2_000],
  ["bundle", "sections without END", repeated(BEGIN), 300],
  ["bundle", "sections without END, and one at last", (count) => {
    return Buffer.concat([repeated(BEGIN)(count), Buffer.from("\n-----END CERTIFICATE-----\n")]);
  }, 300],
  ["bundle", "six dashes", repeated("------BEGIN CERTIFICATE-----\n"), 4_000],
  [
    "bundle",
    "broken sections with line ends of another kind",
    repeated(crlf!.replaceAll("\r", "\r\n").replace("M", "!")),
    50,
  ],
  ["crl", "entries", (count) => {
    const entry = der(0x30, der(0x02, Buffer.from([1])), der(0x17, Buffer.from("260101000000Z")));
    const version = der(0x02, Buffer.from([1]));
    const time = der(0x17, Buffer.from("260101000000Z"));
    const list = der(0x30, repeated(entry)(count));
    return der(0x30, der(0x30, version, der(0x30), der(0x30), time, list), der(0x30), der(0x03, Buffer.from([0])));
  }, 5_000],
  ["certificate", "sets in a name", inExtensions(der(0x31, der(0x30, der(0x06, Buffer.from([85, 4, 3]))))), 2_000],
];

const FACTOR = 16;
/** A clock may tick no finer. */
const TICK_US = 10_000;
/** A busy machine is uneven; what takes quadratic time is never below. */
const ATTEMPTS = 5;

/** What the processor spends on it, however busy it is elsewhere. */
async function cost(times: number, body: () => void | Promise<void>): Promise<number> {
  const start = process.cpuUsage();
  for (let round = 0; round < times; round++) await body();
  const { user, system } = process.cpuUsage(start);
  return Math.max(TICK_US, user + system);
}

for (const [name, what, make, count] of GROWING) {
  // Sixteen times the input costs as much as the input sixteen times, or else sixteen times as much.
  test(`${name}: takes no more than linear time for ${what}`, async () => {
    const [small, large] = [make(count), make(FACTOR * count)];
    await targets[name](small);
    const ratios: number[] = [];
    const isLinear = async () => {
      const many = await cost(FACTOR, () => targets[name](small));
      ratios.push(await cost(1, () => targets[name](large)) / many);
      return ratios.at(-1)! < FACTOR / 4;
    };
    while (!await isLinear()) {
      assert(ratios.length < ATTEMPTS, `${FACTOR} times the input cost ${ratios} times as much as it should`);
    }
  });
}
