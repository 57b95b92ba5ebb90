import { assertEquals, assertThrows } from "@std/assert";
import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import process from "node:process";
import test from "node:test";
import { createServer as createTlsServer, type Server } from "node:tls";
import { TlsReloadError, TlsState } from "../../mod.ts";
import type { AcceptingServer } from "../../src/attach/accepting_server.ts";
import type { ContextServer } from "../../src/attach/context_server.ts";
import type { HandoffServer } from "../../src/attach/handoff_server.ts";
import { attach, type AttachMechanism, type Attachment } from "../../src/node.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { makeCrl } from "../support/crls.ts";
import { configOf, portOf, visit } from "../support/peers.ts";
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

const MECHANISMS: readonly AttachMechanism[] = isBun ? ["handoff", "context"] : ["acceptor"];

/** Judges the clients of the current configuration of an attached server. */
function verificationOf(attachment: Attachment) {
  return (attachment as AcceptingServer | ContextServer | HandoffServer).verification!;
}

async function start(state: TlsState, server: Server, mechanism: AttachMechanism) {
  const refusals: string[] = [];
  server.on("tlsClientError", () => refusals.push("CLIENT_UNAUTHORIZED"));
  const attachment = attach(state, server, { mechanism });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: portOf(server),
    refusals,
    get verification() {
      return verificationOf(attachment);
    },
    [Symbol.asyncDispose]() {
      attachment[Symbol.dispose]();
      (server as { closeAllConnections?: () => void }).closeAllConnections?.();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

for (const [kind, create] of Object.entries(SERVERS)) {
  for (const mechanism of MECHANISMS) {
    // An https server of Bun does not show the certificates of clients.
    if (isBun && kind === "https") continue;
    const way = `attach() of a ${kind} server (${mechanism})`;
    await testRevocation(way, (state) => start(state, create(state), mechanism));
  }
}

test("attach() gives the lists to an https server of Bun, which checks them itself", {
  skip: !isBun && "runs on Bun",
}, async () => {
  const [authority, other] = [await issueCa("authority"), await issueCa("other")];
  const client = await issueClient("client", { issuer: authority });
  const withCrl = (...crl: Uint8Array[]) =>
    configOf(own, { clientAuth: { mode: "required", ca: authority.cert + other.cert, crl } });
  const state = new TlsState(withCrl(makeCrl(authority), makeCrl(other)));
  const { port, [Symbol.asyncDispose]: stop } = await start(state, SERVERS.https(state), "handoff");
  assertEquals((await visit(port, client)).greeting, "HTTP/1.1 200 OK\r");
  state.swap(withCrl(makeCrl(authority, { revoked: [client] }), makeCrl(other)));
  assertEquals((await visit(port, client)).greeting, undefined);
  assertEquals(assertThrows(() => state.swap(withCrl(makeCrl(authority))), TlsReloadError).code, "UNSUPPORTED");
  const next = configOf(own, { clientAuth: { mode: "required", ca: other.cert, crl: makeCrl(other) } });
  const removal = assertThrows(() => state.swap(next, { expectUnused: { withinMs: 1 } }), TlsReloadError);
  assertEquals([removal.code, state.generation], ["UNSUPPORTED", 1]);
  await stop();
});
