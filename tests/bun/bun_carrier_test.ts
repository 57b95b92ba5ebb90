import process from "node:process";
import { listenBun } from "../../src/bun/bun_carrier.ts";
import { testCarrier } from "../support/carrier_contract.ts";

testCarrier("BunClient.carry()", {
  listen: listenBun,
  carry: (client, port, peers) => client.carry(port, peers),
}, { skip: process.versions["bun"] ? false : "needs Bun" });
