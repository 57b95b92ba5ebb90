import { assertEquals } from "@std/assert";
import test from "node:test";
import { parseCertificates } from "../mod.ts";
import { issueServer } from "./support/certificates.ts";

for (const algorithm of ["P-256", "P-384", "RSA", "Ed25519"] as const) {
  test(`parseCertificates() reads the facts of a certificate with ${algorithm}`, async () => {
    const issued = await issueServer("facts", { algorithm });
    const [certificate] = parseCertificates(issued.cert);
    assertEquals(certificate!.fingerprint256, issued.fingerprint256);
    assertEquals(certificate!.dnsNames, ["localhost"]);
    assertEquals(certificate!.ipAddresses, ["127.0.0.1"]);
  });
}
