// The system's roots in the fetch() of Bun:
//   bun examples/roots_bun.ts
import { nativeRoots } from "../src/roots.ts";
import { companyServer } from "../tests/support/company_server.ts";

const { url, [Symbol.asyncDispose]: close } = await companyServer();

const init = { tls: { ca: (await nativeRoots()).pem } };
const response = await fetch(url, init as RequestInit); // the cast is for Deno's type checker
console.log(`Bun fetch(): ${response.status} ${(await response.text()).trim()}`);

await close();
