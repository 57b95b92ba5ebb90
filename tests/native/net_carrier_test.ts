import { carry, listenNet, peerOf } from "../../src/native/net_carrier.ts";
import { testCarrier } from "../support/carrier_contract.ts";

testCarrier("carry()", {
  listen: listenNet,
  carry: (client, port, peers) => carry(client, peerOf(client), port, peers),
}, { skip: false });
