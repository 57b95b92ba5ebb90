// The system's roots in the fetch() of Deno:
//   deno run -A examples/roots_deno.ts
import { nativeRoots } from "../src/roots.ts";
import { companyServer } from "../tests/support/company_server.ts";

const { url, [Symbol.asyncDispose]: close } = await companyServer();

// Deno trusts these roots besides its own. For these roots alone use node:https, as in roots_connect.ts.
const client = Deno.createHttpClient({ caCerts: (await nativeRoots()).pem });
const response = await fetch(url, { client });
console.log(`Deno fetch(): ${response.status} ${(await response.text()).trim()}`);

client.close();
await close();
