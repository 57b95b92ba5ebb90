// The server of one run of drain_soak.ts. Prints the kinds of servers as a line of JSON (`kinds`), or serves one kind
// (`drain`): prints its port with the certificate of a client, and swaps when it reads a line.
import process from "node:process";
import { createInterface } from "node:readline";
import { TlsState } from "../../mod.ts";
import { issueCa, issueClient, issueServer } from "../support/certificates.ts";
import { ALL_SERVERS } from "../support/client_servers.ts";
import { configOf } from "../support/peers.ts";

/** Moments of force follow at once, for servers that have no gentle way. */
const DRAIN = { when: "always", spreadMs: 10_000, graceMs: 20_000 } as const;

async function serveDrained(kind: string): Promise<void> {
  const authority = await issueCa("clients");
  const client = await issueClient("client", { issuer: authority });
  const issued = await issueServer("drain");
  const config = configOf(issued, { clientAuth: { mode: "required", ca: authority.cert } });
  const state = new TlsState(config, { drain: DRAIN });
  const { port } = await ALL_SERVERS[kind]!(state);
  console.log(JSON.stringify({ port, cert: client.cert, key: client.key }));
  for await (const _ of createInterface({ input: process.stdin })) {
    state.swap(config);
    console.log("swapped");
  }
}

const [command, argument = ""] = process.argv.slice(2);
if (command === "kinds") console.log(JSON.stringify(Object.keys(ALL_SERVERS)));
if (command === "drain") await serveDrained(argument);
process.exit();
