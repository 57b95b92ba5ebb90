// The trusted roots of the system in fetch() on Deno:
//   deno run -A examples/roots_deno.ts https://example.com/
import process from "node:process";
import { nativeRoots } from "@x/tls-reload/roots";

// Deno trusts these roots in addition to its own. To trust only these, use node:https as in roots_connect.ts.
const client = Deno.createHttpClient({ caCerts: (await nativeRoots()).pem });
const response = await fetch(process.argv[2] ?? "https://example.com/", { client });
console.log(`fetch() on Deno: ${response.status}`);
await response.body?.cancel();
client.close();
