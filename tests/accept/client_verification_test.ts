import { acceptorServer } from "../support/acceptor_server.ts";
import { testClientAuth } from "../support/client_auth_contract.ts";

await testClientAuth("TlsAcceptor", acceptorServer);
