import process from "node:process";
import { serve } from "../../src/bun.ts";
import { testClientKinds } from "../support/client_matrix.ts";

const skip = !process.versions["bun"] && "needs Bun";

for (const mechanism of ["handoff", "front"] as const) {
  testClientKinds(`serve() of ./bun (${mechanism})`, async (state) => {
    const server = await serve(state, {
      hostname: "127.0.0.1",
      port: 0,
      mechanism,
      fetch: () => new Response("generation 0\n"),
    });
    return { port: server.port, [Symbol.asyncDispose]: () => server.stop(true) };
  }, { skip: skip || mechanism === "handoff" && process.platform !== "linux" && "needs Linux", hidesClients: true });
}
