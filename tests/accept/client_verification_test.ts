import { echoServer } from "../support/peers.ts";
import { testClientAuth } from "../support/client_auth_contract.ts";

await testClientAuth("TlsAcceptor", async (state) => {
  const server = await echoServer(state);
  return {
    port: server.port,
    get refusals() {
      return server.refused.map(({ code }) => code);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
});
