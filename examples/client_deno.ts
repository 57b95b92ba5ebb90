// fetch() on Deno with a certificate that rolls over:
//   deno run -A examples/client_deno.ts client.pem client.key ca.pem https://localhost:8443/
import { readFile } from "node:fs/promises";
import process from "node:process";
import type { TlsState } from "@x/tls-reload";
import { clientOptions } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

/** Keeps an HTTP client for the current certificate: call the result for each request. */
export function rollingHttpClient(state: TlsState, ca: string): () => Deno.HttpClient {
  const tls = clientOptions(state, { ca });
  const open = () => Deno.createHttpClient({ cert: tls.cert, key: tls.key.toString(), caCerts: [ca] });
  let client = open();
  state.subscribe(() => {
    const previous = client;
    client = open();
    previous.close(); // requests that it has begun go on
  });
  return () => client;
}

if (import.meta.main) {
  const [cert = "", key = "", caPath = "", url = ""] = process.argv.slice(2);
  const { state } = await reloadTls({ cert, key });
  const client = rollingHttpClient(state, await readFile(caPath, "utf8"));
  const ask = async () => console.log(await (await fetch(url, { client: client() })).text());
  setInterval(() => ask().catch(console.warn), 1_000);
}
