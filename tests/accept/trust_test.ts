import { assertEquals } from "@std/assert";
import test from "node:test";
import { takesTrustAway } from "../../src/accept/trust.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
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

test("takesTrustAway() is true where a client may be revoked that was not", async () => {
  const HOUR_MS = 3_600_000;
  const clients = [await issueClient("a", { issuer: one }), await issueClient("b", { issuer: one })];
  const [none, first, both] = [[], clients.slice(0, 1), clients].map((revoked) => makeCrl(one, { revoked }));
  const past = { thisUpdate: new Date(Date.now() - 2 * HOUR_MS), nextUpdate: new Date(Date.now() - HOUR_MS) };
  const stale = makeCrl(one, past);
  const withCrl = (crl: Uint8Array[] | undefined, rest: { requireCrl?: boolean; staleCrl?: "accept" } = {}) =>
    issuedConfig(server, { clientAuth: { mode: "required", ca: one.cert, crl, ...rest } });
  const cases = [
    [withCrl(undefined), withCrl([none!]), false],
    [withCrl(undefined), withCrl([first!]), true],
    [withCrl([first!]), withCrl([both!]), true],
    [withCrl([both!]), withCrl([first!]), false],
    [withCrl([both!]), withCrl(undefined), false],
    [withCrl([first!, none!]), withCrl([first!]), false],
    [withCrl([none!]), withCrl([stale]), true],
    [withCrl([stale]), withCrl([stale, none!]), false],
    [withCrl([none!]), withCrl([stale], { staleCrl: "accept" }), false],
    [withCrl([stale], { staleCrl: "accept" }), withCrl([stale]), true],
    [withCrl([none!]), withCrl([none!], { requireCrl: true }), true],
    [withCrl([none!], { requireCrl: true }), withCrl(undefined, { requireCrl: true }), true],
    [configOf(), withCrl([first!]), true],
  ] as const;
  for (const [index, [previous, next, expected]] of cases.entries()) {
    assertEquals(takesTrustAway(previous, next), expected, `case ${index}`);
  }
});
