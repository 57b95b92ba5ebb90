// Roots that stay fresh: read again every six hours, and on SIGHUP, which this program sends itself once:
//   deno run -A examples/roots_refresh.ts | bun examples/roots_refresh.ts | node examples/roots_refresh.ts
import { once } from "node:events";
import { Agent, get } from "node:https";
import process from "node:process";
import { nativeRoots, refreshNativeRoots, type RootCertStore } from "../src/roots.ts";
import { companyServer } from "../tests/support/company_server.ts";

const server = await companyServer();
const SIX_HOURS_MS = 6 * 60 * 60 * 1000;

// An agent keeps the roots that it was made with, so each refresh makes a new one; the old one finishes its requests.
const agentOf = (roots: RootCertStore) => new Agent({ secureContext: roots.secureContext() });
let agent = agentOf(await nativeRoots());

async function refresh(): Promise<void> {
  try {
    const roots = await refreshNativeRoots();
    agent = agentOf(roots);
    for (const { message } of roots.warnings) console.warn(message);
  } catch (error) {
    console.error("The roots stay as they are:", error);
  }
}

let refreshing = Promise.resolve();
setInterval(refresh, SIX_HOURS_MS).unref();
process.on("SIGHUP", () => refreshing = refresh());

const request = () =>
  new Promise<unknown>((resolve) => {
    get({ port: server.port, host: "127.0.0.1", agent }, (response) => resolve(response.resume().statusCode))
      .once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });

console.log("at first:", await request());
await server.renewAuthority();
console.log("after the company has a new authority:", await request());
const signalled = once(process, "SIGHUP");
process.kill(process.pid, "SIGHUP");
await signalled;
await refreshing;
console.log("after a refresh:", await request());
await server[Symbol.asyncDispose]();
