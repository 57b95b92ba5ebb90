// An https.Agent whose certificate rolls over, on any runtime:
//   deno run -A examples/client_agent.ts client.pem client.key ca.pem https://localhost:8443/    (or bun, or node)
import { readFile } from "node:fs/promises";
import { Agent, get } from "node:https";
import process from "node:process";
import type { TlsState } from "@x/tls-reload";
import { clientOptions } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

/** Keeps an agent for the current certificate: call the result for each request. */
export function rollingAgent(state: TlsState, ca: string): () => Agent {
  const tls = clientOptions(state, { ca });
  const open = () => new Agent({ keepAlive: true, ...tls });
  let agent = open();
  state.subscribe(() => {
    const previous = agent;
    agent = open();
    retire(previous);
  });
  return () => agent;
}

/** Closes the idle connections of an agent now, and the busy ones after their requests. `destroy()` would cut them. */
function retire(agent: Agent): void {
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets)) sockets?.forEach((socket) => socket.destroy());
}

if (import.meta.main) {
  const [cert = "", key = "", caPath = "", url = ""] = process.argv.slice(2);
  const { state } = await reloadTls({ cert, key });
  const agent = rollingAgent(state, await readFile(caPath, "utf8"));
  setInterval(() => {
    const request = get(url, { agent: agent() }, (response) => response.on("data", (text) => console.log(`${text}`)));
    request.on("error", console.warn);
  }, 1_000);
}
