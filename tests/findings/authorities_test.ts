import { assert, assertEquals } from "@std/assert";
import test from "node:test";
import { chainsOf } from "../support/authorities.ts";
import { SHAPES } from "../support/authority_shapes.ts";
import { DAY_MS, findingsAbout, makeAuthority, makeLeaf } from "../support/chains.ts";
import { ecKey, keyIdentifierOf, make } from "../support/made_certificates.ts";

const YEAR_MS = 365 * DAY_MS;
const now = Date.now();
const seen = new Set<string>();

for (const shape of SHAPES) {
  test(`chains in the shape of ${shape.name} have no error and no warning but of their length, with and without roots`, () => {
    for (const { what, chain, root } of chainsOf(shape)) {
      for (const roots of [undefined, [root]]) {
        const found = findingsAbout(chain, { at: now, ...(roots && { roots }) })
          .filter(({ severity, code }) =>
            severity === "error" || (severity === "warning" && code !== "LIFETIME_TOO_LONG")
          );
        assertEquals(found, [], what);
      }
      seen.add(what);
    }
  });
}

test("the chains above are more than 500, each of them different", () => assert(seen.size > 500, `${seen.size}`));

test("the name of an issuer that was renewed with its key leads to either of the two", () => {
  const pair = ecKey();
  const old = makeAuthority("root", { key: pair, notAfter: now + YEAR_MS });
  const renewed = makeAuthority("root", { key: pair, notAfter: now + 9 * YEAR_MS });
  assertEquals(findingsAbout([makeLeaf(old)], { roots: [renewed] }), []);
  assertEquals(keyIdentifierOf(pair).length, 20);
  assertEquals(make({ key: pair }).keyIdentifier, old.keyIdentifier);
});
