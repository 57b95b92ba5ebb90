// Certificates from etcd 3.4 and later, by its JSON gateway. Certificate and key are one value, so a pair is never torn:
//   etcdctl put /tls/www "$(jq -n --rawfile cert fullchain.pem --rawfile key privkey.pem '{cert: $cert, key: $key}')"
import { Buffer } from "node:buffer";
import { TlsConfig } from "@x/tls-reload";

/** A key of etcd: `new Reloader(state, source.load).follow(source.changes, { splayMs: 5_000 })`. */
export function etcdSource(endpoint: string, key: string) {
  const encodedKey = Buffer.from(key).toString("base64");
  const call = async (path: string, body: object, signal: AbortSignal) => {
    const response = await fetch(`${endpoint}/v3/${path}`, { method: "POST", body: JSON.stringify(body), signal });
    if (!response.ok) throw new Error(`etcd answers ${response.status}`);
    return response;
  };

  async function load(): Promise<TlsConfig> {
    const response = await call("kv/range", { key: encodedKey }, AbortSignal.timeout(5_000));
    const { kvs: [entry] = [] } = await response.json() as { kvs?: { value: string }[] };
    if (entry === undefined) throw new Error(`etcd has no key ${key}`);
    return new TlsConfig(JSON.parse(Buffer.from(entry.value, "base64").toString()));
  }

  /** One line of JSON says that the watch stands, and each further one that the value has changed. */
  async function* changes(signal: AbortSignal): AsyncGenerator<void> {
    const { body } = await call("watch", { create_request: { key: encodedKey } }, signal);
    // Deno forgets the signal of a fetch() whose response has been collected.
    for await (const _ of body!.pipeThrough(new TransformStream(), { signal })) yield;
  }

  return { load, changes };
}
