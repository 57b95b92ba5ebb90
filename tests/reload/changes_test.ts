import { assertEquals } from "@std/assert";
import test from "node:test";
import { TlsConfig } from "../../mod.ts";
import { changesOf } from "../../src/reload/changes.ts";
import { issueServer } from "../support/certificates.ts";

const keyOf = async (name: string) => {
  const { cert, key } = await issueServer(name, { names: [{ type: "dns", value: name }] });
  return new TlsConfig({ cert, key }).certifiedKeys[0]!;
};
const [first, second, third] = [await keyOf("first.test"), await keyOf("second.test"), await keyOf("third.test")];
const configOf = (...certifiedKeys: (typeof first)[]) => new TlsConfig({ certifiedKeys });

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
