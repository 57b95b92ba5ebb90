// The trusted roots of the system in undici, which is behind fetch() on Node:
//   npm install undici && node examples/roots_undici.ts https://example.com/
import process from "node:process";
import { Agent, fetch } from "undici";
import { nativeRoots } from "@x/tls-reload/roots";

const dispatcher = new Agent({ connect: { secureContext: (await nativeRoots()).secureContext() } });
const response = await fetch(process.argv[2] ?? "https://example.com/", { dispatcher });
console.log(`undici: ${response.status}`);
await response.body?.cancel();
await dispatcher.close();
