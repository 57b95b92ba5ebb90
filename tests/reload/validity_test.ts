import { assert, assertEquals, assertThrows } from "@std/assert";
import test from "node:test";
import { type Certificate, type CertifiedKey, type CertifiedKeyInit, TlsConfig, TlsReloadError } from "../../mod.ts";
import { requireReplaceable } from "../../src/reload/validity.ts";
import { issue, type Issued, type IssueOptions } from "../support/certificates.ts";

const HOUR_MS = 3_600_000;
const LIMIT_MS = HOUR_MS;
const EXPIRED = { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) };
const issueFor = (name: string, options: IssueOptions = {}) =>
  issue(name, { names: [{ type: "dns", value: name }], ...options });

const pair = ({ cert, key }: Issued) => ({ cert, key });
const [valid, renewed, other] = [await issueFor("a.test"), await issueFor("a.test"), await issueFor("b.test")];
const expired = await issueFor("a.test", EXPIRED);
const soon = await issueFor("a.test", { notBefore: new Date(Date.now() + LIMIT_MS / 2) });
const configOf = (...certifiedKeys: (CertifiedKeyInit | CertifiedKey)[]) => new TlsConfig({ certifiedKeys });

test("requireReplaceable() lets no certificate that is not valid replace a valid one for the same names", () => {
  const current = configOf(pair(other), pair(valid));
  const check = (issued: Issued) => requireReplaceable(configOf(pair(other), pair(issued)), current, LIMIT_MS);
  assertEquals(check(renewed), undefined);
  assertEquals(check(soon), soon.certificate.notBefore);
  assertEquals(assertThrows(() => check(expired), TlsReloadError).code, "CERTIFICATE_EXPIRED");
});

test("requireReplaceable() ignores a certificate that is served already, whatever its validity", () => {
  const current = configOf(pair(other), pair(valid), pair(expired));
  const [, , old] = current.certifiedKeys;
  assertEquals(requireReplaceable(configOf(pair(other), pair(renewed), old!), current, LIMIT_MS), undefined);
  // Another one would be the default.
  const { code } = assertThrows(() => requireReplaceable(configOf(old!), current, LIMIT_MS), TlsReloadError);
  assertEquals(code, "CERTIFICATE_EXPIRED");
});

test("requireReplaceable() reads the names of each certificate once", () => {
  const [{ leaf }] = configOf(pair(valid)).certifiedKeys as [CertifiedKey];
  let readings = 0;
  const namesOf = (index: number) => {
    readings++;
    return [`n${index}.test`];
  };
  const many = (count: number): TlsConfig => {
    const certifiedKeys = Array.from({ length: count }, (_, index) => ({
      leaf: Object.create(leaf, {
        dnsNames: { get: () => namesOf(index) },
        isValidAt: { value: () => false },
      }) as Certificate,
    }));
    return Object.create(configOf(pair(valid)), {
      certifiedKeys: { value: certifiedKeys },
      leaf: { value: certifiedKeys[0]!.leaf },
    });
  };
  requireReplaceable(many(1_000), many(1_000), LIMIT_MS);
  assert(readings <= 2_000, `${readings} readings`);
});
