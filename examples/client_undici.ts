// A dispatcher of undici, which is behind fetch() on Node, whose certificate rolls over:
//   npm install undici && node examples/client_undici.ts client.pem client.key ca.pem https://localhost:8443/
import { readFile } from "node:fs/promises";
import process from "node:process";
import { Agent, type Dispatcher, fetch } from "undici";
import type { TlsState } from "@x/tls-reload";
import { clientOptions } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

/** Dispatches each request by an agent for the current certificate: for `fetch()`, or for `setGlobalDispatcher()`. */
export function rollingDispatcher(state: TlsState, ca: string): Dispatcher {
  const tls = clientOptions(state, { ca });
  const open = () => new Agent({ connect: { ...tls } });
  let agent = open();
  state.subscribe(() => {
    const previous = agent;
    agent = open();
    previous.close(); // after its requests
  });
  return agent.compose(() => (options, handler) => agent.dispatch(options, handler));
}

if (import.meta.main) {
  const [cert = "", key = "", caPath = "", url = ""] = process.argv.slice(2);
  const { state } = await reloadTls({ cert, key });
  const dispatcher = rollingDispatcher(state, await readFile(caPath, "utf8"));
  const ask = async () => console.log(await (await fetch(url, { dispatcher })).text());
  setInterval(() => ask().catch(console.warn), 1_000);
}
