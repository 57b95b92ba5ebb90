import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import test from "node:test";
import { contentOf, DerTag, encodeDer, readChildren, readDer, readInteger, readOid } from "../../src/x509/der.ts";
import { openssl } from "../support/openssl.ts";

/** The DER of a value in the language of OpenSSL, such as `INTEGER:5`. */
function encode(value: string): Uint8Array {
  return openssl(["asn1parse", "-genstr", value, "-noout", "-out", "FILE.pem"]);
}

function readOne(der: Uint8Array) {
  const [value, ...rest] = readDer(der);
  assertEquals(rest, []);
  return value;
}

test("readDer() reads the output of encodeDer(), which uses the shortest form of each length", () => {
  for (const length of [1, 127, 128, 255, 256, 40_000]) {
    const content = new Uint8Array(length).fill(7);
    const encoded = encodeDer(DerTag.octetString, content);
    assertEquals(Buffer.from(encoded), Buffer.from(encode(`FORMAT:HEX,OCTETSTRING:${"07".repeat(length)}`)));
    assertEquals(Buffer.from(readOne(encoded)!.content), Buffer.from(content));
  }
});

test("readDer() reads values one after another", () => {
  const values = readDer(Buffer.from("0500" + "040161" + "3003020105", "hex"));
  assertEquals(values.map(({ tag, content }) => [tag, Buffer.from(content).toString("hex")]), [
    [0x05, ""],
    [0x04, "61"],
    [0x30, "020105"],
  ]);
  assertEquals(values.map(({ encoded }) => encoded.length), [2, 3, 5]);
  assertEquals(readInteger(readChildren(values[2])[0]), 5n);
  assertEquals(readDer(new Uint8Array()), []);
});

test("readDer() reads every form of length that OpenSSL writes", () => {
  for (const length of [1, 127, 128, 255, 256, 65_535, 65_536]) {
    const value = readOne(openssl("asn1parse -genconf CONFIG -noout -out FILE.pem", "", stringOf(length)));
    assertEquals(contentOf(value, DerTag.octetString).length, length);
  }
});

function stringOf(length: number): string {
  return `asn1 = OCTETSTRING:${"x".repeat(length)}`;
}

const BROKEN = ["04", "0401", "048161", "04820100", "0480", "048500000000", "0485000000000161", "04ff", "040261"];

for (const hex of BROKEN) {
  test(`readDer() refuses ${hex}`, () => {
    assertThrows(() => readDer(Buffer.from(hex, "hex")), RangeError);
  });
}

test("readInteger() reads the integers of OpenSSL", () => {
  for (const number of ["0", "1", "127", "128", "255", "256", "-1", "-128", "-129", "65537", `${2n ** 159n}`]) {
    assertEquals(readInteger(readOne(encode(`INTEGER:${number}`))), BigInt(number));
  }
});

test("readOid() reads the identifiers of OpenSSL", () => {
  for (
    const oid of ["0.9.2342.19200300.100.1.25", "1.2.840.113549.1.5.13", "2.5.4.3", "2.999.1", `2.25.${2n ** 127n}`]
  ) {
    assertEquals(readOid(readOne(encode(`OID:${oid}`))), oid);
  }
});

test("readInteger() and readOid() refuse other tags and empty values", () => {
  for (const hex of ["0500", "0200", "0600", "3000"]) {
    const [value] = readDer(Buffer.from(hex, "hex"));
    for (const read of [readInteger, readOid]) assertThrows(() => read(value), RangeError);
  }
  assertThrows(() => readInteger(undefined), RangeError);
  assertThrows(() => readChildren(undefined), RangeError);
});

// Arithmetic on a number of this size takes minutes: a test that ends has shown that there is none.
test("readInteger() and readOid() refuse a number of a megabyte", () => {
  const content = Buffer.alloc(1024 * 1024, 0x81);
  for (const [read, tag] of [[readInteger, DerTag.integer], [readOid, DerTag.oid]] as const) {
    assertThrows(() => read({ tag, content, encoded: content }), RangeError);
  }
});

test("readDer() reads a megabyte of empty values", () => {
  assertEquals(readDer(Buffer.alloc(1024 * 1024)).length, 512 * 1024);
});

test("readDer() throws only RangeError, and loses no byte", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        assertEquals(Buffer.concat(readDer(bytes).map(({ encoded }) => encoded)), Buffer.from(bytes));
      } catch (error) {
        assertInstanceOf(error, RangeError);
      }
    }),
    { seed: 1, numRuns: 2000 },
  );
});
