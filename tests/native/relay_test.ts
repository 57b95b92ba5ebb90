import { peerOf } from "../../src/native/peers.ts";
import { relayToPort } from "../../src/native/relay.ts";
import { testRelay } from "../support/relay_contract.ts";

testRelay("relayToPort()", (client, port, peers) => relayToPort(client, peerOf(client), port, peers));
