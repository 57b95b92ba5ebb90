// Listens with the permissions that it was given, and says by which mechanism, or why not. With a second certificate it
// also swaps, and says what a client is served then. Run by permissions_test.ts.
import { connect } from "node:tls";
import { TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { servedFingerprint } from "../../src/config/proof.ts";
import { listenTls, serve } from "../../src/deno.ts";

const { kind, first, second, reusePort = false } = JSON.parse(Deno.args[0]!);
const state = new TlsState(new TlsConfig(first));
const options = { hostname: "127.0.0.1", port: 0, reusePort };
try {
  const server = await (kind === "serve" ? serve(state, options, () => new Response()) : listenTls(state, options));
  console.log(server.mechanismReason);
  if (second) {
    const accepting = "accept" in server ? server.accept() : undefined;
    state.swap(new TlsConfig(second));
    const client = connect({ host: "127.0.0.1", port: server.addr.port, rejectUnauthorized: false });
    const served = await servedFingerprint(client, 10_000);
    console.log(served === state.current().leaf.fingerprint256 ? "swapped" : `served ${served}`);
    (await accepting)?.close();
    client.destroy();
  }
  if ("shutdown" in server) await server.shutdown();
  else server.close();
} catch (error) {
  console.log(error instanceof TlsReloadError ? `${error.code} ${error.message}` : error);
}
