import { assert, assertEquals } from "@std/assert";
import test from "node:test";
import { TlsConfig } from "../../mod.ts";
import { changesOf } from "../../src/reload/changes.ts";
import { requireReplaceable } from "../../src/reload/validity.ts";
import { issueServer } from "../support/certificates.ts";

const HOUR_MS = 3_600_000;
const MANY = 10_000;
/** Quadratic time would be some seconds. */
const LINEAR_MS = 500;
const past = { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) };
const keyOf = async (name: string, validity = {}) => {
  const { cert, key } = await issueServer(name, { names: [{ type: "dns", value: name }], ...validity });
  return new TlsConfig({ cert, key }).certifiedKeys[0]!;
};
const [first, second, third] = [await keyOf("first.test"), await keyOf("second.test"), await keyOf("third.test")];
const expired = await keyOf("expired.test", past);
const repeated = (key: typeof first) => Array<typeof first>(MANY).fill(key);
const configOf = (...certifiedKeys: (typeof first)[]) => new TlsConfig({ certifiedKeys });

test("requireReplaceable() takes linear time, also if many certificates have expired", () => {
  const current = configOf(...repeated(first), second, expired);
  for (const key of [second, expired]) {
    const next = configOf(first, ...repeated(key));
    const start = performance.now();
    assertEquals(requireReplaceable(next, current, HOUR_MS), undefined);
    assert(performance.now() - start < LINEAR_MS);
  }
});

test("changesOf() names what only replaced certified keys had, and only new ones have", async () => {
  const current = configOf(first, second);
  assertEquals(changesOf(current, configOf(first, await keyOf("second.test"))), {});
  assertEquals(changesOf(current, configOf(first, third)).names, { added: ["third.test"], removed: ["second.test"] });
  assertEquals(changesOf(current, configOf(first, second, third)).names, { added: ["third.test"], removed: [] });
  assertEquals(changesOf(current, configOf(second)).names, { added: [], removed: ["first.test"] });
});

test("changesOf() does not name what a certified key that is kept has too", async () => {
  const other = await keyOf("first.test");
  assertEquals(changesOf(configOf(first, second), configOf(first, other)).names, {
    added: [],
    removed: ["second.test"],
  });
  assertEquals(changesOf(configOf(first, second, other), configOf(first, second)), {});
});
