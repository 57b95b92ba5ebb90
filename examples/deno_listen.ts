// An accept loop on Deno; a swap changes the certificate of the next connection and of no other:
//   deno run -A examples/deno_listen.ts
import { connect } from "node:tls";
import { TlsConfig, TlsState } from "../mod.ts";
import { listenTls } from "../src/deno.ts";
import { issuePair } from "../tests/support/certificates.ts";

const state = new TlsState(new TlsConfig(await issuePair("before")));
const listener = await listenTls(state, { hostname: "127.0.0.1", port: 0 });

(async () => {
  for await (const conn of listener) conn.readable.pipeTo(conn.writable).catch(() => {});
})();

const before = await dial();
state.swap(new TlsConfig(await issuePair("after")));
const after = await dial();
for (const client of [before, after]) {
  client.write("echo");
  await new Promise((resolve) => client.once("data", resolve));
  console.log(`${client.getPeerCertificate().subject.CN}: answered`);
}
console.log(listener.generations);

for (const client of [before, after]) client.destroy();
listener.close();

async function dial() {
  const client = connect({ port: listener.addr.port, host: "127.0.0.1", rejectUnauthorized: false });
  await new Promise((resolve, reject) => client.once("secureConnect", resolve).once("error", reject));
  return client;
}
