// Follows two files in a process of its own: `leave CERT KEY`, or `rotate CERT KEY NEXT_CERT NEXT_KEY`.
import { rename } from "node:fs/promises";
import process from "node:process";
import { loadTlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload/reloader.ts";
import { echoServer, visit } from "../support/peers.ts";
import { told } from "./rotating_files.ts";

const [mode, cert = "", key = "", nextCert = "", nextKey = ""] = process.argv.slice(2);
const load = () => loadTlsConfig(cert, key);
const state = new TlsState(await load());
const reloader = new Reloader(state, load);
if (mode === "leave") {
  reloader.watch([cert, key]);
  reloader.onSignal("SIGHUP");
  reloader.every(60_000);
  await told(reloader, "unchanged");
  console.log("leaving");
} else {
  reloader.addEventListener("reject", (event) => event.preventDefault());
  const server = await echoServer(state);
  const looked = told(reloader, "unchanged");
  reloader.watch([cert, key], { pollIntervalMs: 50, settleMs: 10 });
  await looked;
  const swapped = told(reloader, "swap");
  await rename(nextKey, key);
  await rename(nextCert, cert);
  await swapped;
  const isDegraded = reloader.status().watches[0]?.degraded !== undefined;
  console.log(`degraded ${isDegraded}, served ${(await visit(server.port)).fingerprint256}`);
  await reloader.close();
  await server[Symbol.asyncDispose]();
}
