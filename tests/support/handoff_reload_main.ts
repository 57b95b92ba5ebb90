// A program that its runtime restarts when it changes (`bun --hot`, `bun --watch`, `deno --watch`): it serves at PORT
// with a handoff, or with a bare server, and says what it is.
import process from "node:process";
import { TlsConfig, TlsState } from "../../mod.ts";
import { openHandoff } from "../../src/native/open_handoff.ts";
import { tlsOptions } from "../../src/config/server_options.ts";
import { NATIVE_RUNTIMES } from "./native_runtimes.ts";

declare const Bun: { serve(options: object): unknown };

/** Called by the program that a test writes. */
export async function serveReloadable(version: string, certificates: readonly { cert: string; key: string }[]) {
  const port = Number(process.env["PORT"]);
  const configs = certificates.map(({ cert, key }) => new TlsConfig({ cert, key }));
  if (process.env["BARE"]) {
    const { minVersion: _, ...tls } = tlsOptions(configs[0]!, configs[0]!.certifiedKeys[0]!);
    Bun.serve({ port, hostname: "127.0.0.1", tls, fetch: () => new Response(version) });
  } else {
    const state = new TlsState(configs[0]!);
    const runtime = NATIVE_RUNTIMES[0]!({ onRequest: () => new Response(version) });
    const handoff = await openHandoff(state, runtime, { hostname: "127.0.0.1", port });
    // Not the first generation any more when it is reloaded.
    state.swap(configs[1]!);
    while (handoff.servers.at(-1)!.generation !== state.generation) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  console.log(JSON.stringify({ version }));
}
