import type { TlsState } from "../../mod.ts";
import { handshakesOf } from "../../src/accept/tls_acceptor.ts";
import type { GreetingServer } from "./client_auth_contract.ts";
import { echoServer } from "./peers.ts";

/** Serves a state by its acceptors, for the contracts about clients. */
export async function acceptorServer(state: TlsState): Promise<GreetingServer> {
  const server = await echoServer(state);
  return {
    port: server.port,
    get refusals() {
      return server.refused.map(({ code }) => code);
    },
    get verification() {
      return handshakesOf(state.acceptor()).verification!;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
