// Listens with the permissions that it was given and says what came of it. Run by deno_test.ts.
import { TlsConfig, TlsReloadError, TlsState } from "../../mod.ts";
import { listenTls, serve } from "../../src/deno.ts";

const { cert, key, kind, port } = JSON.parse(await new Response(Deno.stdin.readable).text());
const state = new TlsState(new TlsConfig({ cert, key }));
const options = { hostname: "127.0.0.1", port };
try {
  if (kind === "serve") await (await serve(state, options, () => new Response())).shutdown();
  else (await listenTls(state, options)).close();
  console.log("listened");
} catch (error) {
  console.log(error instanceof TlsReloadError ? `${error.code} ${error.message}` : error);
}
