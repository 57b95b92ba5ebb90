import { acceptorServer } from "../support/acceptor_server.ts";
import { testRevocation } from "../support/revocation_contract.ts";

await testRevocation("TlsAcceptor", acceptorServer);
