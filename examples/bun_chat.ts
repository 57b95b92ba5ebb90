// A WebSocket chat on Bun that lives through ten swaps: everybody hears everybody, whatever certificate they came by:
//   bun examples/bun_chat.ts
import { TlsConfig, TlsState } from "../mod.ts";
import { type BunWebSocket, serve } from "../src/bun.ts";
import { issuePair } from "../tests/support/certificates.ts";
import { HttpConnection } from "../tests/support/http.ts";

const newConfig = async () => new TlsConfig(await issuePair("chat"));
const state = new TlsState(await newConfig());
const server = await serve(state, {
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response(null, { status: 426 }),
  websocket: {
    open: (socket: BunWebSocket) => socket.subscribe("room"),
    message: (socket, message) => void socket.publish("room", message),
  },
});

const members: HttpConnection[] = [];
for (let swap = 0; swap <= 10; swap++) {
  const member = await HttpConnection.open(server.port);
  await member.upgrade("/");
  members.push(member);
  if (swap < 10) state.swap(await newConfig());
}
const certificates = new Set(members.map(({ fingerprint256 }) => fingerprint256));
console.log(`${members.length} members, ${certificates.size} certificates, ${server.generations.length} generations`);

members[0]!.sendText("hello from the oldest connection");
for (const member of members.slice(1)) await member.receiveText();
members.at(-1)!.sendText("hello from the newest one");
for (const member of members.slice(0, -1)) await member.receiveText();
console.log("all of them heard both messages");

for (const member of members) member.close();
await server.stop(true);
