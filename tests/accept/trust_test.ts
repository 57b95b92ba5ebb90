import { assertEquals } from "@std/assert";
import test from "node:test";
import { takesTrustAway } from "../../src/accept/trust.ts";
import { issueCa, issueServer } from "../support/certificates.ts";
import { configOf as issuedConfig } from "../support/peers.ts";

const server = await issueServer("server");
const [one, other] = [await issueCa("one"), await issueCa("other")];
const configOf = (mode?: "required" | "optional", ...authorities: readonly { cert: string }[]) =>
  issuedConfig(server, {
    clientAuth: mode && { mode, ca: authorities.map(({ cert }) => cert).join("") },
  });

test("takesTrustAway() is true where a client may be refused that got in before", () => {
  const cases = [
    [configOf(), configOf(), false],
    [configOf(), configOf("optional", one), false],
    [configOf(), configOf("required", one), true],
    [configOf("required", one), configOf(), false],
    [configOf("optional", one), configOf("required", one), true],
    [configOf("required", one), configOf("optional", one), false],
    [configOf("required", one), configOf("required", one, other), false],
    [configOf("required", one, other), configOf("required", other), true],
    [configOf("optional", one, other), configOf("optional", other), true],
    [configOf("required", one, other), configOf("required", other, one), false],
  ] as const;
  for (const [index, [previous, next, expected]] of cases.entries()) {
    assertEquals(takesTrustAway(previous, next), expected, `case ${index}`);
  }
});
