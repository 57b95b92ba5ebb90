// The system's roots in tls.connect() and in an https.Agent, on any runtime:
//   deno run -A examples/roots_connect.ts | bun examples/roots_connect.ts | node examples/roots_connect.ts
import { Agent, get } from "node:https";
import { connect } from "node:tls";
import { nativeRoots, warmNativeRoots } from "../src/roots.ts";
import { companyServer } from "../tests/support/company_server.ts";

const { port, [Symbol.asyncDispose]: close } = await companyServer();

// At boot, so that no request waits for it. Every later call gives the same store, at once.
console.log(`${(await warmNativeRoots()).size} root`);
const secureContext = (await nativeRoots()).secureContext();

await new Promise<void>((resolve) => {
  const socket = connect({ port, host: "127.0.0.1", secureContext }, () => {
    console.log(`tls.connect(): authorized ${socket.authorized}`);
    socket.end();
  });
  socket.resume().once("close", () => resolve());
});

// One agent for all requests: it keeps connections alive.
const agent = new Agent({ keepAlive: true, secureContext });
await new Promise<void>((resolve) => {
  get({ port, host: "127.0.0.1", agent }, async (response) => {
    for await (const body of response) console.log(`https.Agent: ${response.statusCode} ${String(body).trim()}`);
    resolve();
  });
});
agent.destroy();
await close();
