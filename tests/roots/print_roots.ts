// Prints as JSON what nativeRoots() finds, and what the runtime lists if its name is "system". Run by native_roots_test.ts.
import { X509Certificate } from "node:crypto";
import process from "node:process";
import { nativeRoots } from "../../src/roots.ts";

const outcome = await nativeRoots().then(
  (store) => ({ roots: [...store].map(({ fingerprint256 }) => fingerprint256).sort(), ...store.toJSON() }),
  ({ name, code, message }) => ({ name, code, message }),
);
let system: string[] | undefined;
if (process.argv.includes("system")) {
  const { getCACertificates } = await import("node:tls");
  system = getCACertificates("system").map((pem) => new X509Certificate(pem).fingerprint256);
}
console.log(JSON.stringify({ ...outcome, ...(system && { system: [...new Set(system)].sort() }) }));
