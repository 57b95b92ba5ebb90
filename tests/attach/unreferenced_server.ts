// A program whose server is not referenced: it swaps, serves a connection of the new generation, and ends by itself.
import { once } from "node:events";
import { createServer } from "node:https";
import { TlsState } from "../../mod.ts";
import { attach } from "../../src/node.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf, dial, portOf } from "../support/peers.ts";

const [first, second] = [await issueServer("first"), await issueServer("second")];
const state = new TlsState(configOf(first));
const server = createServer();
attach(state, server);
server.unref();
server.listen(0, "127.0.0.1");
await once(server, "listening");
state.swap(configOf(second));
const socket = await dial(portOf(server));
console.log(socket.getPeerCertificate().fingerprint256 === second.fingerprint256 ? "served" : "stale");
socket.destroy();
