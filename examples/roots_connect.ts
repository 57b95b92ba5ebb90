// The trusted roots of the system in tls.connect() and in an https.Agent, on any runtime:
//   deno run -A examples/roots_connect.ts https://example.com/    (or bun, or node)
import { Agent, get } from "node:https";
import process from "node:process";
import { connect } from "node:tls";
import { nativeRoots, warmNativeRoots } from "@x/tls-reload/roots";

const url = new URL(process.argv[2] ?? "https://example.com/");
// At start, so that no request waits for the roots. Every later call returns the same store at once.
console.log(`${(await warmNativeRoots()).size} roots`);
const secureContext = (await nativeRoots()).secureContext();

const socket = connect({ port: Number(url.port || 443), host: url.hostname, secureContext }, () => {
  console.log(`tls.connect(): authorized ${socket.authorized}`);
  socket.end();
});
await new Promise((resolve) => socket.resume().once("close", resolve));

// One agent for all requests keeps connections alive.
const agent = new Agent({ keepAlive: true, secureContext });
get(url, { agent }, (response) => {
  console.log(`https.Agent: ${response.statusCode}`);
  response.resume().once("end", () => agent.destroy());
});
