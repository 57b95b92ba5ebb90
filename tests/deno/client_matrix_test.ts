import process from "node:process";
import type { TlsReloadError } from "../../mod.ts";
import { listenTls, serve } from "../../src/deno.ts";
import { testClientKinds } from "../support/client_matrix.ts";

const skip = !process.versions["deno"] && "needs Deno";
const codeOf = (error: unknown): string => (error as TlsReloadError).code;
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const GREETING = "generation 0\n";

testClientKinds("listenTls()", async (state) => {
  const refusals: string[] = [];
  const listener = await listenTls(state, { ...LOOPBACK, onClientError: (error) => void refusals.push(codeOf(error)) });
  const loop = (async () => {
    for await (const conn of listener) {
      await conn.write(new TextEncoder().encode(GREETING)).catch(() => {});
      conn.close();
    }
  })();
  return {
    port: listener.addr.port,
    refusals,
    async [Symbol.asyncDispose]() {
      listener.close();
      await loop;
    },
  };
}, { skip });

testClientKinds("serve() of ./deno", async (state) => {
  const refusals: string[] = [];
  const options = { ...LOOPBACK, onClientError: (error: unknown) => void refusals.push(codeOf(error)) };
  const server = await serve(state, options, () => new Response(GREETING));
  return { port: server.addr.port, refusals, [Symbol.asyncDispose]: () => server.shutdown() };
}, { skip });
