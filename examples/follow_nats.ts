// Certificates from a key-value bucket of NATS JetStream. The item is the material itself, so nothing is loaded beside it:
//   nats kv put tls www "$(jq -n --rawfile cert fullchain.pem --rawfile key privkey.pem '{cert: $cert, key: $key}')"
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { TlsConfig, type TlsConfigInit } from "@x/tls-reload";

/** A key of NATS: `new Reloader(state, load).follow(source.values, { toConfig: source.toConfig })`. */
export function natsSource(servers: string, bucket: string, key: string) {
  /** Yields the current value first. The stream ends when the server is gone. */
  async function* values(signal: AbortSignal): AsyncGenerator<TlsConfigInit> {
    const connection = await connect({ servers, reconnect: false, timeout: 5_000, pingInterval: 5_000, maxPingOut: 2 });
    signal.addEventListener("abort", () => void connection.close());
    try {
      const values = await (await new Kvm(connection).open(bucket)).watch({ key });
      void connection.closed().then(() => values.stop());
      for await (const entry of values) yield entry.json();
    } finally {
      await connection.close();
    }
  }

  return { values, toConfig: (init: TlsConfigInit) => new TlsConfig(init) };
}
