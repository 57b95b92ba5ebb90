// The stores of examples/follow_*.ts, each run by its own server: how it is started, written to, and followed.
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { Buffer } from "node:buffer";
import { createClient } from "redis";
import { etcdSource } from "../../examples/follow_etcd.ts";
import { natsSource } from "../../examples/follow_nats.ts";
import { redisSource } from "../../examples/follow_redis.ts";
import { type TlsConfig, type TlsConfigInit, TlsState, type TlsStateOptions } from "../../mod.ts";
import { type FollowOptions, Reloader, type Subscribe } from "../../src/reload.ts";

const KEY = "www";

/** A reloader that follows a store, and the state that it keeps in sync. */
export interface Followed {
  readonly state: TlsState;
  readonly reloader: Reloader;
}

/** A store that holds one configuration. */
export interface Store {
  /** The program of its server. */
  readonly command: string;
  /** The arguments of its server. */
  args(port: number, folder: string): readonly string[];
  /** Puts a configuration, by a connection of its own. */
  put(port: number, value: TlsConfigInit): Promise<void>;
  /** Loads what the store holds, and follows it. */
  follow(port: number, options?: StoreOptions): Promise<Followed>;
}

interface StoreOptions extends Pick<FollowOptions<unknown>, "splayMs">, Pick<TlsStateOptions, "drain"> {}

interface ValueSource {
  readonly values: Subscribe<TlsConfigInit>;
  readonly toConfig: (init: TlsConfigInit) => TlsConfig;
}

/** Follows a source whose items are the material itself. */
async function followValues({ values, toConfig }: ValueSource, { drain, ...options }: StoreOptions): Promise<Followed> {
  const state = new TlsState(toConfig(await firstOf(values)), { drain });
  const reloader = new Reloader(state, () => Promise.resolve(state.current()));
  reloader.follow(values, { ...options, toConfig });
  return { state, reloader };
}

async function firstOf<Item>(subscribe: Subscribe<Item>): Promise<Item> {
  const subscription = new AbortController();
  try {
    for await (const item of subscribe(subscription.signal)) return item;
    throw new Error("the source has no value");
  } finally {
    subscription.abort();
  }
}

const etcd: Store = {
  command: "etcd",
  args(port, folder) {
    const client = `http://127.0.0.1:${port}`;
    const urls = ["--listen-client-urls", client, "--advertise-client-urls", client];
    return ["--data-dir", folder, ...urls, "--listen-peer-urls", "http://127.0.0.1:0", "--log-level", "error"];
  },
  async put(port, init) {
    const [key, value] = [KEY, JSON.stringify(init)].map((text) => Buffer.from(text).toString("base64"));
    const body = JSON.stringify({ key, value });
    const response = await fetch(`http://127.0.0.1:${port}/v3/kv/put`, { method: "POST", body });
    if (!response.ok) throw new Error(`etcd answers ${response.status}`);
    await response.text();
  },
  async follow(port, { drain, ...options } = {}) {
    const source = etcdSource(`http://127.0.0.1:${port}`, KEY);
    const state = new TlsState(await source.load(), { drain });
    const reloader = new Reloader(state, source.load);
    reloader.follow(source.changes, options);
    return { state, reloader };
  },
};

const redis: Store = {
  command: "redis-server",
  args: (port, folder) => ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes"],
  async put(port, init) {
    const client = createClient({ url: `redis://127.0.0.1:${port}`, socket: { reconnectStrategy: false } });
    // The commands fail with the connection.
    await client.on("error", () => {}).connect();
    await client.set(KEY, JSON.stringify(init));
    await client.publish(KEY, "changed");
    await client.close();
  },
  follow: (port, options = {}) => followValues(redisSource(`redis://127.0.0.1:${port}`, KEY), options),
};

const nats: Store = {
  command: "nats-server",
  args: (port, folder) => ["--addr", "127.0.0.1", "--port", `${port}`, "--jetstream", "--store_dir", folder],
  async put(port, init) {
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    await (await new Kvm(connection).create("tls")).put(KEY, JSON.stringify(init));
    await connection.close();
  },
  follow: (port, options = {}) => followValues(natsSource(`127.0.0.1:${port}`, "tls", KEY), options),
};

/** All stores, by their names. */
export const STORES: Readonly<Record<"etcd" | "redis" | "nats", Store>> = { etcd, redis, nats };
