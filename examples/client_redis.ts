// A Redis client whose certificate rolls over, on any runtime:
//   npm install redis && node examples/client_redis.ts client.pem client.key ca.pem rediss://localhost:6379    (or bun, deno)
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createClient, type RedisClientType } from "redis";
import type { TlsState } from "@x/tls-reload";
import { clientOptions } from "@x/tls-reload/node";
import { reloadTls } from "@x/tls-reload/reload";

/** Keeps a client for the current certificate: call the result for each command. */
export function rollingRedis(state: TlsState, ca: string, url: string): () => RedisClientType {
  const tls = clientOptions(state, { ca });
  const open = () => {
    const client: RedisClientType = createClient({ url, socket: { tls: true, ...tls } });
    client.on("error", console.warn);
    return { client, connected: client.connect().catch(console.warn) }; // commands wait for the connection
  };
  let current = open();
  state.subscribe(() => {
    const previous = current;
    current = open();
    previous.connected.then(() => previous.client.close()).catch(console.warn); // after its commands
  });
  return () => current.client;
}

if (import.meta.main) {
  const [cert = "", key = "", caPath = "", url = ""] = process.argv.slice(2);
  const { state } = await reloadTls({ cert, key });
  const client = rollingRedis(state, await readFile(caPath, "utf8"), url);
  setInterval(() => client().ping().then(console.log, console.warn), 1_000);
}
