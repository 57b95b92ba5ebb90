import { acceptorServer } from "../support/acceptor_server.ts";
import { testClientKinds } from "../support/client_matrix.ts";

testClientKinds("TlsAcceptor", acceptorServer, { isWhole: true });
