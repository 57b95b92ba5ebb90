import { assert, assertEquals } from "@std/assert";
import type { JsonGeneralNames } from "@peculiar/x509";
import test from "node:test";
import { ServerNameIndex } from "../../src/config/server_names.ts";
import { normalizeName } from "../../src/x509/server_name.ts";
import { type Certificate, parseCertificates } from "../../mod.ts";
import { issue } from "../support/certificates.ts";

interface Key {
  readonly name: string;
  readonly chain: readonly Certificate[];
}

/** A key whose certificate holds these names, of which those that begin with a digit or hold a colon are addresses. */
async function key(name: string, ...names: string[]): Promise<Key> {
  const isAddress = (each: string) => /^[\d.]+$|:/.test(each);
  const all: JsonGeneralNames = names.map((value) => ({ type: isAddress(value) ? "ip" : "dns", value }));
  return { name, chain: parseCertificates((await issue(name, { names: all })).cert) };
}

const first = await key("first", "a.test", "*.a.test", "127.0.0.2", "::1");
const second = await key("second", "WWW.a.test", "b.test.", "2001:db8::5");
const third = await key("third", "*.b.test", "b.test", "xn--bcher-kva.test", "f*.c.test");
const twin = await key("twin", "*.A.test", "a.test", "::1", "127.0.0.2");
const index = new ServerNameIndex([first, second, third, twin]);
const found = (name: string) => index.find(normalizeName(name))?.map(({ name }) => name);

test("ServerNameIndex finds every key of a name, exact before wildcard", () => {
  assertEquals(found("a.test"), ["first", "twin"]);
  assertEquals(found("www.a.test"), ["second"]);
  assertEquals(found("mail.a.test"), ["first", "twin"]);
  assertEquals(found("b.test"), ["second", "third"]);
});

test("ServerNameIndex ignores case and a trailing dot, and compares A-labels", () => {
  assertEquals(found("A.TEST"), ["first", "twin"]);
  assertEquals(found("Mail.A.Test."), ["first", "twin"]);
  assertEquals(found("b.test"), found("b.test."));
  assertEquals(found("b\u00fccher.test"), ["third"]);
  assertEquals(found("XN--BCHER-KVA.test"), ["third"]);
});

test("ServerNameIndex lets a wildcard stand for one whole label, the first", () => {
  for (const name of ["x.y.a.test", ".a.test", "test", "*", "", ".", "foo.c.test", "a..b.test"]) {
    assertEquals(found(name), undefined, name);
  }
  // No client asks for a wildcard itself; the first label of the name is one like another.
  assertEquals(found("*.b.test"), ["third"]);
});

test("ServerNameIndex finds no key for texts that are not names, whatever a certificate holds", async () => {
  const odd = await key("odd", "", "*..", "*", "x.*.test", "f*.test", "*.*.test", "odd\0.test", "odd.test");
  const index = new ServerNameIndex([first, odd]);
  const texts = ["", ".", "\x9b a", "localhost", "*", "x.*.test", "x.y.test", "f*.test", "*.*.test", "odd\0.test"];
  for (const text of texts) assertEquals(index.find(normalizeName(text)), undefined, text);
  assertEquals(index.find("odd.test"), [odd]);
  assertEquals([...index.dnsNames()].map(([name]) => name), ["a.test", "odd.test", "*.a.test"]);
});

test("ServerNameIndex finds addresses, as names and as the local end of a connection", () => {
  const at = (address: string) => index.findAddress(address)?.map(({ name }) => name);
  assertEquals(found("127.0.0.2"), ["first", "twin"]);
  assertEquals(at("127.0.0.2"), ["first", "twin"]);
  assertEquals(at("::ffff:127.0.0.2"), ["first", "twin"]);
  assertEquals(at("::1"), ["first", "twin"]);
  assertEquals(at("2001:db8::5%eth0"), ["second"]);
  assertEquals(at("127.0.0.1"), undefined);
  assertEquals(at("a.test"), undefined);
});

test("ServerNameIndex has the first key as default, with the keys for the same names", () => {
  assertEquals(index.defaults.map(({ name }) => name), ["first", "twin"]);
  assertEquals(new ServerNameIndex([second, third]).defaults, [second]);
});

test("ServerNameIndex uses a certificate without names only as the default", async () => {
  const none = await key("none");
  const index = new ServerNameIndex([none, second]);
  assertEquals(index.defaults, [none]);
  assertEquals(index.find("none"), undefined);
});

test("ServerNameIndex takes as long for ten thousand names as for ten", async () => {
  const real = await key("many", "m.test");
  const leaf = real.chain[0]!;
  const many = (count: number) => {
    const keys = Array.from({ length: count }, (_, number) => {
      const names = { dnsNames: [`n${number}.test`, `*.n${number}.test`] };
      return {
        name: `${number}`,
        chain: [Object.create(leaf, { dnsNames: { value: names.dnsNames } }) as Certificate],
      };
    });
    return new ServerNameIndex(keys);
  };
  const time = (index: ServerNameIndex<Key>, count: number) => {
    const start = performance.now();
    for (let round = 0; round < 20_000; round++) assert(index.find(`x.n${round % count}.test`));
    return performance.now() - start;
  };
  const [small, large] = [many(10), many(10_000)];
  const ratios = Array.from({ length: 5 }, () => time(large, 10_000) / time(small, 10));
  // A look-up that searches would take a thousand times as long.
  assert(Math.min(...ratios) < 20, `${ratios}`);
});
