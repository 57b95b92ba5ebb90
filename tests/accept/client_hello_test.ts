import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import test from "node:test";
import { type ClientHello, MAX_HELLO_BYTES, parseClientHello } from "../../src/accept/client_hello.ts";
import {
  captureHello,
  curlClient,
  extension,
  inRecords,
  madeHello,
  opensslClient,
  type SentName,
  serverNames,
} from "../support/client_hellos.ts";
import { clientHello } from "../support/peers.ts";

function parsed(bytes: Uint8Array): ClientHello {
  const hello = parseClientHello(bytes);
  assert(hello);
  return hello;
}

/** The reason for which a hello is refused. */
const refused = (bytes: Uint8Array) => assertThrows(() => parseClientHello(bytes), RangeError).message;
const named = (...names: SentName[]) => madeHello([extension(0, serverNames(...names))]);

const ordinary = await captureHello(opensslClient("-servername", "www.example.test", "-alpn", "h2,http/1.1"));

test("parseClientHello() reads the hello of openssl", async () => {
  const hello = parsed(ordinary);
  assertEquals(hello.serverName, "www.example.test");
  assertEquals(hello.alpnProtocols, ["h2", "http/1.1"]);
  assertEquals(hello.versions.slice(0, 2), ["TLSv1.3", "TLSv1.2"]);
  for (const scheme of [0x0403, 0x0804]) assert(hello.signatureAlgorithms.includes(scheme));
  for (const suite of [0x1301, 0xc02b, 0xc02f]) assert(hello.cipherSuites.includes(suite));
  for (const group of [23, 29]) assert(hello.supportedGroups.includes(group));

  const args = ["-noservername", "-tls1_2", "-sigalgs", "ECDSA+SHA256:RSA-PSS+SHA384", "-groups", "P-384"];
  const old = parsed(await captureHello(opensslClient(...args, "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")));
  assertEquals(old, {
    serverName: undefined,
    alpnProtocols: [],
    versions: ["TLSv1.2", "TLSv1.1", "TLSv1"],
    signatureAlgorithms: [0x0403, 0x0805],
    cipherSuites: [0xc02f, 0x00ff],
    supportedGroups: [24],
  });
});

test("parseClientHello() reads the hellos of curl and of this runtime", async () => {
  const curl = parsed(await captureHello(curlClient()));
  assertEquals(curl.serverName, "curl.test");
  assertEquals(curl.alpnProtocols, ["h2", "http/1.1"]);
  assertEquals(curl.versions.slice(0, 2), ["TLSv1.3", "TLSv1.2"]);

  const own = parsed(await clientHello({ servername: "runtime.test", ALPNProtocols: ["acme-tls/1"] }));
  assertEquals(own.serverName, "runtime.test");
  assertEquals(own.alpnProtocols, ["acme-tls/1"]);
  assertEquals(own.versions, ["TLSv1.3", "TLSv1.2"]);
});

test("parseClientHello() waits for the last byte of a hello, and ignores the bytes after it", () => {
  const whole = parsed(ordinary);
  for (const payloadBytes of [1, 2, 300, 16_384]) {
    const bytes = inRecords(ordinary, payloadBytes);
    for (let length = 0; length < bytes.length; length += 1 + length % 7) {
      assertEquals(parseClientHello(bytes.subarray(0, length)), undefined, `${length} of ${bytes.length} bytes`);
    }
    assertEquals(parseClientHello(bytes.subarray(0, -1)), undefined);
    assertEquals(parseClientHello(bytes), whole);
    // Early data, for example.
    assertEquals(parseClientHello(Buffer.concat([bytes, Buffer.alloc(20_000, 0x17)])), whole);
  }
});

test("parseClientHello() refuses bytes that are not TLS at the first wrong byte", () => {
  assertEquals(refused(Buffer.from("G")), "the bytes are not TLS");
  assertEquals(refused(Buffer.from("\x16\x04", "latin1")), "the bytes are not TLS");
  // An alert, a hello of SSL 2, and the preface of HTTP/2.
  assertEquals(refused(Buffer.from([0x15, 0x03, 0x01])), "the bytes are not TLS");
  assertEquals(refused(Buffer.from([0x80, 0x2e, 0x01])), "the bytes are not TLS");
  assertEquals(refused(Buffer.from("PRI * HTTP/2.0")), "the bytes are not TLS");
  assertEquals(refused(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x40, 0x02])), "the first message is not a ClientHello");
  // The second record of a hello is something else.
  const first = inRecords(ordinary, 100).subarray(0, 105);
  assertEquals(parseClientHello(first), undefined);
  assertEquals(refused(Buffer.concat([first, Buffer.of(0x17)])), "the bytes are not TLS");
});

test("parseClientHello() refuses a hello or a record that is too large as soon as its length has arrived", () => {
  assertStringIncludes(refused(Buffer.from([0x16, 0x03, 0x01, 0x40, 0x01])), "a record is larger");
  const header = (length: number) => Buffer.from([0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0, length >> 8, length & 0xff]);
  assertEquals(refused(header(MAX_HELLO_BYTES - 3)), "the ClientHello is too large");
  assertEquals(parseClientHello(header(MAX_HELLO_BYTES - 4)), undefined);
});

test("parseClientHello() refuses a hello at its limit with records of any size", () => {
  const empty = Buffer.from([0x16, 0x03, 0x01, 0x00, 0x00]);
  const many = Buffer.concat(Array(MAX_HELLO_BYTES).fill(empty));
  assertEquals(parseClientHello(many.subarray(0, MAX_HELLO_BYTES - 1)), undefined);
  assertEquals(refused(many.subarray(0, MAX_HELLO_BYTES)), "the ClientHello is too large");
});

test("parseClientHello() returns normalized names", () => {
  assertEquals(parsed(named("WWW.Example.TEST")).serverName, "www.example.test");
  assertEquals(parsed(named("www.example.test.")).serverName, "www.example.test");
  assertEquals(parsed(named("127.0.0.1")).serverName, "127.0.0.1");
  assertEquals(parsed(named("b\xfccher.test")).serverName, "b\xfccher.test");
  assertEquals(parsed(madeHello([])).serverName, undefined);
  assertEquals(parsed(madeHello(undefined)).serverName, undefined);
});

test("parseClientHello() refuses a name that runtimes could read in two ways", () => {
  const malformed = "the server name is malformed";
  assertEquals(refused(named()), "the ClientHello is cut off");
  assertEquals(refused(named("a.test", "b.test")), "the ClientHello holds more bytes than its lengths say");
  for (const name of ["", "a".repeat(256), "a.test\0.b.test", [1, "a.test"] as const]) {
    assertEquals(refused(named(name)), malformed);
  }
  const twice = [extension(0, serverNames("a.test")), extension(0, serverNames("b.test"))];
  assertEquals(refused(madeHello(twice)), "extension 0 is repeated");
  assertEquals(parsed(named("a".repeat(255))).serverName, "a".repeat(255));
});

test("parseClientHello() refuses lengths that do not fit", () => {
  const more = "the ClientHello holds more bytes than its lengths say";
  const cutOff = "the ClientHello is cut off";
  assertEquals(refused(madeHello([], { after: "x" })), more);
  assertEquals(refused(madeHello(undefined, { after: "x" })), cutOff);
  assertEquals(refused(madeHello([Buffer.from([0, 0, 0])])), cutOff);
  assertEquals(refused(madeHello([extension(0, Buffer.concat([serverNames("a.test"), Buffer.of(0)]))])), more);
  assertEquals(refused(madeHello([extension(13, Buffer.from([0, 3, 4, 3, 8]))])), cutOff);
  assertEquals(refused(madeHello([extension(16, Buffer.from([0, 4, 2, 0x68]))])), cutOff);
  assertEquals(refused(madeHello([extension(43, Buffer.from([3, 3, 4, 3]))])), cutOff);
});

test("parseClientHello() reads the versions of the extension, otherwise those up to the version of the field", () => {
  const offering = (...versions: number[]) => madeHello([extension(43, Buffer.from([versions.length, ...versions]))]);
  // The reserved value of RFC 8701 is ignored.
  assertEquals(parsed(offering(0x3a, 0x3a, 3, 3, 3, 4)).versions, ["TLSv1.3", "TLSv1.2"]);
  assertEquals(parsed(madeHello([], { legacyVersion: 0x0302 })).versions, ["TLSv1.1", "TLSv1"]);
  // RFC 8446 section 4.1.2: the field tells of TLS 1.2 at most.
  assertEquals(parsed(madeHello([], { legacyVersion: 0x0304 })).versions[0], "TLSv1.2");
});
