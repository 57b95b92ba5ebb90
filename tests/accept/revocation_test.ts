import { handshakesOf } from "../../src/accept/tls_acceptor.ts";
import { echoServer } from "../support/peers.ts";
import { testRevocation } from "../support/revocation_contract.ts";

await testRevocation("TlsAcceptor", async (state) => {
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
});
