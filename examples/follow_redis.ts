// Certificates from Redis. Certificate and key are one value, and whatever renews them publishes after the change:
//   redis-cli SET tls:www "$(jq -n --rawfile cert fullchain.pem --rawfile key privkey.pem '{cert: $cert, key: $key}')"
//   redis-cli PUBLISH tls:www changed
import { EventEmitter, on } from "node:events";
import { createClient } from "redis";
import { TlsConfig, type TlsConfigInit } from "@x/tls-reload";

/** A key of Redis: `new Reloader(state, load).follow(source.values, { toConfig: source.toConfig })`. */
export function redisSource(url: string, key: string) {
  /** Yields the current value first, and the value of that time after each message. */
  async function* values(signal: AbortSignal): AsyncGenerator<TlsConfigInit> {
    const socket = { connectTimeout: 5_000, reconnectStrategy: false } as const;
    const [subscriber, reader] = [1, 2].map(() => createClient({ url, socket, pingInterval: 5_000 }));
    const events = new EventEmitter().on("error", () => {}); // the second client may fail after the first
    const messages = on(events, "message", { signal });
    try {
      for (const client of [subscriber!, reader!]) {
        client.on("error", (error) => events.emit("error", error));
        await client.connect();
      }
      await subscriber!.subscribe(key, () => events.emit("message"));
      events.emit("message"); // the subscription stands
      for await (const _ of messages) yield JSON.parse(await reader!.get(key) ?? "null");
    } finally {
      for (const client of [subscriber!, reader!]) if (client.isOpen) client.destroy();
    }
  }

  return { values, toConfig: (init: TlsConfigInit) => new TlsConfig(init) };
}
