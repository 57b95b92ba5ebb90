import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import process from "node:process";
import { createServer as createTlsServer, type Server } from "node:tls";
import { TlsState } from "../../mod.ts";
import { type AcceptingServer, currentVerification as ofAcceptor } from "../../src/attach/accepting_server.ts";
import { type ContextServer, currentVerification as ofContext } from "../../src/attach/context_server.ts";
import { attach } from "../../src/node.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf, portOf } from "../support/peers.ts";
import { testRevocation } from "../support/revocation_contract.ts";

const isBun = process.versions["bun"] !== undefined;
const own = await issueServer("of the server alone");

/** Servers that ask for certificates as the state does, and have no revocation list of their own. */
const SERVERS = {
  tls: (state: TlsState): Server =>
    createTlsServer(withoutLists(state), (socket) => {
      socket.on("error", () => socket.destroy());
      socket.write(`generation ${state.generation}\n`);
      socket.pipe(socket);
    }),
  https: (state: TlsState): Server =>
    createHttpsServer(withoutLists(state), (_request, response) => response.end(`generation ${state.generation}\n`)),
  http2: (state: TlsState): Server =>
    createSecureServer({ ...withoutLists(state), allowHTTP1: true }, (_request, response) => {
      response.end(`generation ${state.generation}\n`);
    }),
};

function withoutLists(state: TlsState) {
  const { mode, ca } = state.current().clientAuth!;
  return new TlsState(configOf(own, { clientAuth: { mode, ca: ca.map(({ pem }) => pem).join("") } })).tls;
}

for (const [kind, create] of Object.entries(SERVERS)) {
  // An https server of Bun cannot be attached.
  if (isBun && kind === "https") continue;
  await testRevocation(`attach() of a ${kind} server`, async (state) => {
    const server = create(state);
    const refusals: string[] = [];
    server.on("tlsClientError", () => refusals.push("CLIENT_UNAUTHORIZED"));
    const attachment = attach(state, server);
    await once(server.listen(0, "127.0.0.1"), "listening");
    return {
      port: portOf(server),
      refusals,
      get verification() {
        return isBun ? ofContext(attachment as ContextServer)! : ofAcceptor(attachment as AcceptingServer)!;
      },
      [Symbol.asyncDispose]() {
        attachment[Symbol.dispose]();
        (server as { closeAllConnections?: () => void }).closeAllConnections?.();
        return new Promise<void>((resolve) => server.close(() => resolve()));
      },
    };
  });
}
