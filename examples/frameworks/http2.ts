// Streams of node:http2 on Deno, Bun or Node. They last over every swap:
//   node examples/frameworks/http2.ts fullchain.pem privkey.pem
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { attach } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

const [cert = "fullchain.pem", key = "privkey.pem"] = process.argv.slice(2);
const { state } = await reloadTls({ cert, key, alpnProtocols: ["h2"], onSignal: "SIGHUP", logger: console });

const server = createSecureServer();
attach(state, server);
server.on("stream", (stream: ServerHttp2Stream) => {
  stream.on("error", console.warn); // resets of this client
  stream.respond({ ":status": 200 });
  stream.pipe(stream);
});
server.listen(Number(process.env["PORT"] ?? 8443), () => {
  console.log(`https://localhost:${(server.address() as AddressInfo).port}/`);
});
