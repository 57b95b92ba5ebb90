// Trusted roots that are read again every six hours and on SIGHUP, on any runtime:
//   deno run -A examples/roots_refresh.ts https://example.com/    (or bun, or node)
// It requests the URL at first and after each refresh.
import { Agent, get } from "node:https";
import process from "node:process";
import { nativeRoots, refreshNativeRoots, type RootCertStore } from "@x/tls-reload/roots";

const SIX_HOURS_MS = 6 * 60 * 60 * 1000;
const url = process.argv[2] ?? "https://example.com/";
// An agent keeps the roots that it was created with. Requests of the old agent finish.
const agentOf = (roots: RootCertStore) => new Agent({ secureContext: roots.secureContext() });
let agent = agentOf(await nativeRoots());

function request(): void {
  const fail = (error: NodeJS.ErrnoException) => console.log(error.code);
  get(url, { agent }, (response) => console.log(response.resume().statusCode)).once("error", fail);
}

async function refresh(): Promise<void> {
  try {
    const roots = await refreshNativeRoots();
    agent = agentOf(roots);
    for (const { message } of roots.warnings) console.warn(message);
  } catch (error) {
    console.error("The roots stay as they are:", error);
  }
  request();
}

process.on("SIGHUP", refresh);
setInterval(refresh, SIX_HOURS_MS);
request();
