import { assertEquals, assertThrows } from "@std/assert";
import test from "node:test";
import { kindOf, requireOptions, requirePath } from "../src/arguments.ts";

const KNOWN = ["alpnProtocols", "clientAuth", "minVersion"];
const PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----";

function messageOf(action: () => void): string {
  return assertThrows(action, TypeError).message;
}

test("requireOptions() accepts known options and options that are undefined", () => {
  requireOptions("f", {}, KNOWN);
  requireOptions("f", { clientAuth: 1, other: undefined }, KNOWN);
  requireOptions("f", Object.assign(Object.create(null), { minVersion: 1 }), KNOWN);
});

test("requireOptions() names the option to use instead", () => {
  const hints = { requestCert: "clientAuth" };
  assertEquals(
    messageOf(() => requireOptions("loadTlsConfig", { requestCert: true }, KNOWN, hints)),
    "Unknown option 'requestCert' of loadTlsConfig: use clientAuth",
  );
});

test("requireOptions() finds the nearest name of a misspelt option", () => {
  for (
    const [name, nearest] of [["ALPNProtocols", "alpnProtocols"], ["minversion", "minVersion"], [
      "clientauht",
      "clientAuth",
    ]]
  ) {
    assertEquals(
      messageOf(() => requireOptions("f", { [name!]: 1 }, KNOWN)),
      `Unknown option '${name}' of f: use ${nearest}`,
    );
  }
});

test("requireOptions() lists the options if no name is near", () => {
  for (const name of ["constructor", "colour"]) {
    assertEquals(
      messageOf(() => requireOptions("f", { [name]: 1 }, KNOWN)),
      `Unknown option '${name}' of f: known are alpnProtocols, clientAuth, minVersion`,
    );
  }
});

test("requireOptions() refuses what is not an options object, and names its kind only", () => {
  for (
    const [value, kind] of [[null, "null"], [undefined, "undefined"], [PEM, "a string"], [[PEM], "an array"], [
      new Map(),
      "a Map",
    ], [Promise.resolve(), "a Promise"]]
  ) {
    assertEquals(
      messageOf(() => requireOptions("f", value, KNOWN)),
      `Cannot call f: its options must be an object: ${kind}`,
    );
  }
});

test("requireOptions() does not quote a key that cannot be a name", () => {
  assertEquals(
    messageOf(() => requireOptions("f", { [PEM]: 1 }, KNOWN)),
    "Unknown option of f: known are alpnProtocols, clientAuth, minVersion",
  );
  assertEquals(
    messageOf(() => requireOptions("f", { ["A".repeat(50)]: 1 }, KNOWN)),
    "Unknown option of f: known are alpnProtocols, clientAuth, minVersion",
  );
});

test("requirePath() accepts paths and URLs and refuses the rest without repeating it", () => {
  requirePath("f", "certPath", "a.pem");
  requirePath("f", "certPath", new URL("file:///a.pem"));
  // An A-label of a name with a hyphen.
  requirePath("f", "certPath", "live/xn-----8kcbxdsd0agf.xn--p1ai/fullchain.pem");
  assertEquals(
    messageOf(() => requirePath("f", "keyPath", PEM)),
    "Cannot call f: 'keyPath' is PEM text, not a path: use TlsConfig",
  );
  const parts = ["-----BEGIN MC4CAQ", "KEY-----MC4CAQ", "wVwBCIEIA-----END ", "wVwBCIEIA= -----", "----------"];
  for (const text of [PEM.replaceAll("\n", " "), PEM.replaceAll("\n", ""), ...parts]) {
    assertEquals(
      messageOf(() => requirePath("f", "keyPath", text)),
      "Cannot call f: 'keyPath' is PEM text, not a path: use TlsConfig",
    );
  }
  for (
    const [value, kind] of [
      [undefined, "undefined"],
      [new TextEncoder().encode(PEM), "a Uint8Array, not a path: use TlsConfig"],
      [3, "a number"],
      ["", "an empty string"],
    ]
  ) {
    assertEquals(
      messageOf(() => requirePath("f", "keyPath", value)),
      `Cannot call f: 'keyPath' must be a path or a URL: ${kind}`,
    );
  }
});

test("kindOf() names the class of an object", () => {
  assertEquals([kindOf(new URL("a:b")), kindOf({}), kindOf(() => {}), kindOf(class {})], [
    "a URL",
    "an object",
    "a function",
    "a function",
  ]);
  assertEquals(kindOf(new (class {})()), "an instance of a class");
});
