// The system's roots in undici, whose fetch() is that of Node:
//   npm install undici && node examples/roots_undici.ts
import { Agent, fetch } from "undici";
import { nativeRoots } from "../src/roots.ts";
import { companyServer } from "../tests/support/company_server.ts";

const { url, [Symbol.asyncDispose]: close } = await companyServer();

const dispatcher = new Agent({ connect: { secureContext: (await nativeRoots()).secureContext() } });
const response = await fetch(url, { dispatcher });
console.log(`undici: ${response.status} ${(await response.text()).trim()}`);

await dispatcher.close();
await close();
