// An https.Agent whose certificate rolls over, on any runtime:
//   deno run -A examples/client_agent.ts client.pem client.key ca.pem https://localhost:8443/    (or bun, or node)
import { readFile } from "node:fs/promises";
import { Agent, get } from "node:https";
import process from "node:process";
import type { TlsState } from "@x/tls-reload";
import { clientOptions } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

/** Makes an agent that shows the current certificate, also for a library that keeps the agent. */
export function rollingAgent(state: TlsState, ca: string): Agent {
  const tls = clientOptions(state, { ca });
  const agent = new Agent({ keepAlive: true, ...tls });
  /** Closes idle connections of previous certificates: the agent keeps connections by names that hold the certificate. */
  const closePrevious = () => {
    for (const [name, sockets = []] of Object.entries(agent.freeSockets)) {
      if (!name.includes(tls.cert)) sockets.forEach((socket) => socket.destroy());
    }
  };
  state.subscribe(() => {
    Object.assign(agent.options, tls);
    closePrevious();
  });
  agent.on("free", closePrevious); // after a request
  return agent;
}

if (import.meta.main) {
  const [cert = "", key = "", caPath = "", url = ""] = process.argv.slice(2);
  const { state } = await reloadTls({ cert, key });
  const agent = rollingAgent(state, await readFile(caPath, "utf8"));
  setInterval(() => {
    const request = get(url, { agent }, (response) => response.on("data", (text) => console.log(`${text}`)));
    request.on("error", console.warn);
  }, 1_000);
}
