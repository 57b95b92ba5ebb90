import { assertEquals } from "@std/assert";
import test from "node:test";
import { VerifiedClients } from "../../src/accept/verified_clients.ts";
import { TrustAnchors } from "../../src/x509/trust_anchors.ts";
import { caExtensions, root } from "../support/client_kinds.ts";
import { ecKey, extension, general, make } from "../support/made_certificates.ts";

const anchors = new TrustAnchors([root.parsed]);
const finding = { anchors, notBefore: 0, notAfter: Infinity, authorities: new Set<string>() };
const key = ecKey();

function remembered(clients: VerifiedClients, count: number): number {
  return Array.from({ length: count }, (_, index) => clients.get(`client ${index}`)).filter(Boolean).length;
}

test("VerifiedClients remembers 10,000 clients that share an intermediate certificate", () => {
  const clients = new VerifiedClients();
  const { parsed } = make({ key, issuer: root, extensions: caExtensions(key) });
  for (let index = 0; index < 10_001; index++) {
    clients.remember(`client ${index}`, { intermediates: [parsed], finding });
  }
  assertEquals([remembered(clients, 10_001), clients.get("client 0")], [10_000, undefined]);
});

test("VerifiedClients remembers fewer clients that have sent large certificates, the latest ones", () => {
  const clients = new VerifiedClients();
  // An authority below the one that is trusted writes into its certificates what it likes.
  const names = extension.subjectAltName(general.dns("a".repeat(50_000)));
  const { parsed } = make({ key, issuer: root, extensions: [...caExtensions(key), names] });
  const remember = (index: number) => clients.remember(`client ${index}`, { intermediates: [parsed], finding });
  for (let index = 0; index < 1_000; index++) remember(index);
  const count = Math.floor(16 * 1024 ** 2 / parsed.der.length);
  assertEquals([remembered(clients, 1_000), clients.get("client 999") !== undefined], [count, true]);
  // A client that comes again counts once.
  for (let again = 0; again < 1_000; again++) remember(999);
  assertEquals(remembered(clients, 1_000), count);
});
