import { once } from "node:events";
import { createServer } from "node:tls";
import { type AcceptingServer, currentVerification as ofAcceptor } from "../../src/attach/accepting_server.ts";
import { type ContextServer, currentVerification as ofContext } from "../../src/attach/context_server.ts";
import { currentVerification as ofHandoff, type HandoffServer } from "../../src/attach/handoff_server.ts";
import { attach } from "../../src/node.ts";
import { testClientKinds } from "../support/client_matrix.ts";
import { portOf } from "../support/peers.ts";

testClientKinds("attach() of a tls server", async (state) => {
  const server = createServer(state.tls, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.write(`generation ${state.generation}\n`);
    socket.pipe(socket);
  });
  const refusals: string[] = [];
  server.on("tlsClientError", (error: NodeJS.ErrnoException) => refusals.push(error.code ?? error.message));
  const attachment = attach(state, server);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: portOf(server),
    refusals,
    get verification() {
      const { mechanism } = attachment;
      if (mechanism === "context") return ofContext(attachment as ContextServer)!;
      if (mechanism === "handoff") return ofHandoff(attachment as HandoffServer)!;
      return ofAcceptor(attachment as AcceptingServer)!;
    },
    [Symbol.asyncDispose]: () => {
      attachment[Symbol.dispose]();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
});
