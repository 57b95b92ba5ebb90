// The trusted roots of the system in fetch() on Bun:
//   bun examples/roots_bun.ts https://example.com/
import process from "node:process";
import { nativeRoots } from "@x/tls-reload/roots";

const init = { tls: { ca: (await nativeRoots()).pem } };
const response = await fetch(process.argv[2] ?? "https://example.com/", init as RequestInit);
console.log(`fetch() on Bun: ${response.status}`);
