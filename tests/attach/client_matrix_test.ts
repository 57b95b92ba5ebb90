import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import process from "node:process";
import { createServer as createTlsServer, type Server } from "node:tls";
import type { TlsState } from "../../mod.ts";
import { attach, type AttachMechanism } from "../../src/node.ts";
import { testClientKinds } from "../support/client_matrix.ts";
import { portOf } from "../support/peers.ts";

const isBun = process.versions["bun"] !== undefined;
const GREETING = "generation 0\n";

const SERVERS = {
  tls: (state: TlsState): Server =>
    createTlsServer(state.tls, (socket) => {
      socket.on("error", () => socket.destroy()).resume().end(GREETING);
    }),
  https: (state: TlsState): Server => createHttpsServer(state.tls, (_request, response) => response.end(GREETING)),
  http2: (state: TlsState): Server =>
    createSecureServer({ ...state.tls, allowHTTP1: true }, (_request, response) => response.end(GREETING)),
};

async function start(state: TlsState, server: Server, mechanism: AttachMechanism) {
  const refusals: string[] = [];
  const attachment = attach(state, server, { mechanism, onTlsError: ({ code }) => void refusals.push(code) });
  server.on("tlsClientError", () => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  await attachment.ready;
  return {
    port: portOf(server),
    refusals,
    [Symbol.asyncDispose]: () => {
      attachment[Symbol.dispose]();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

for (const [kind, create] of Object.entries(SERVERS)) {
  const mechanisms: AttachMechanism[] = !isBun ? ["acceptor"] : kind === "https" ? ["handoff"] : ["handoff", "context"];
  for (const mechanism of mechanisms) {
    const hidesClients = isBun && kind === "https";
    testClientKinds(`attach() of ${kind} (${mechanism})`, (state) => start(state, create(state), mechanism), {
      hidesClients,
    });
  }
}
