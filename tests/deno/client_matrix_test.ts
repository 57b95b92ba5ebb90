import process from "node:process";
import { listenTls, serve } from "../../src/deno.ts";
import { testClientKinds } from "../support/client_matrix.ts";

const skip = !process.versions["deno"] && "needs Deno";
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const GREETING = "generation 0\n";

testClientKinds("listenTls()", async (state) => {
  const listener = await listenTls(state, LOOPBACK);
  const loop = (async () => {
    for await (const conn of listener) {
      await conn.write(new TextEncoder().encode(GREETING)).catch(() => {});
      conn.close();
    }
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await loop;
    },
  };
}, { skip });

testClientKinds("serve() of ./deno", async (state) => {
  const server = await serve(state, LOOPBACK, () => new Response(GREETING));
  return { port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}, { skip });
