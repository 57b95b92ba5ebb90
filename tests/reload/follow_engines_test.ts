import { assert, assertEquals } from "@std/assert";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { Buffer } from "node:buffer";
import test from "node:test";
import { createClient } from "redis";
import { etcdSource } from "../../examples/follow_etcd.ts";
import { natsSource } from "../../examples/follow_nats.ts";
import { redisSource } from "../../examples/follow_redis.ts";
import { type TlsConfig, type TlsConfigInit, TlsState } from "../../mod.ts";
import { Reloader, type Subscribe } from "../../src/reload.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { Engine, missing } from "../support/engines.ts";
import { echoServer, visit } from "../support/peers.ts";
import { nextEvent } from "./rotating_files.ts";

const KEY = "www";
const CHANGES = 20;
const RESTARTS = 3;
const PAUSE_MS = 2_000;
/** The longest wait for a change that came while the engine was gone: reconnect pauses, and the poll. */
const MISSED_MS = 35_000;
const issued = await Promise.all(["first", "second", "third"].map((name) => issueServer(name))) as [
  Issued,
  Issued,
  Issued,
];

/** One engine: how it is started, written to, and followed. */
interface Store {
  readonly command: string;
  args(port: number, folder: string): readonly string[];
  /** Puts a certificate with its key, by a connection of its own. */
  put(port: number, issued: Issued): Promise<void>;
  /** Makes a reloader that follows the store, with a state of what it holds now. */
  follow(port: number): Promise<{ state: TlsState; reloader: Reloader }>;
}

/** Tries again until it succeeds: an engine accepts connections before it is ready. */
async function until(attempt: () => Promise<boolean>): Promise<void> {
  while (!await attempt()) await new Promise((resolve) => setTimeout(resolve, 20));
}

const valueOf = ({ cert, key }: Issued) => JSON.stringify({ cert, key });

interface ValueSource {
  readonly values: Subscribe<TlsConfigInit>;
  readonly toConfig: (init: TlsConfigInit) => TlsConfig;
}

/** Follows a source whose items are the material itself. */
function followValues({ values, toConfig }: ValueSource): Promise<{ state: TlsState; reloader: Reloader }> {
  const state = new TlsState(toConfig({ cert: issued[0].cert, key: issued[0].key }));
  const reloader = new Reloader(state, () => Promise.resolve(state.current()));
  reloader.follow(values, { toConfig });
  return Promise.resolve({ state, reloader });
}

const stores: Readonly<Record<string, Store>> = {
  etcd: {
    command: "etcd",
    args: (port, folder) => {
      const client = `http://127.0.0.1:${port}`;
      const urls = ["--listen-client-urls", client, "--advertise-client-urls", client];
      return ["--data-dir", folder, ...urls, "--listen-peer-urls", "http://127.0.0.1:0", "--log-level", "error"];
    },
    async put(port, issued) {
      const [key, value] = [KEY, valueOf(issued)].map((text) => Buffer.from(text).toString("base64"));
      const body = JSON.stringify({ key, value });
      const response = await fetch(`http://127.0.0.1:${port}/v3/kv/put`, { method: "POST", body });
      assertEquals(response.status, 200, await response.text());
    },
    async follow(port) {
      const source = etcdSource(`http://127.0.0.1:${port}`, KEY);
      const state = new TlsState(await source.load());
      const reloader = new Reloader(state, source.load);
      reloader.follow(source.changes);
      return { state, reloader };
    },
  },
  redis: {
    command: "redis-server",
    args: (port, folder) => ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes"],
    async put(port, issued) {
      const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
      await client.set(KEY, valueOf(issued));
      await client.publish(KEY, "changed");
      await client.close();
    },
    follow: (port) => followValues(redisSource(`redis://127.0.0.1:${port}`, KEY)),
  },
  nats: {
    command: "nats-server",
    args: (port, folder) => ["--addr", "127.0.0.1", "--port", `${port}`, "--jetstream", "--store_dir", folder],
    async put(port, issued) {
      const connection = await connect({ servers: `127.0.0.1:${port}` });
      await (await new Kvm(connection).create("tls")).put(KEY, valueOf(issued));
      await connection.close();
    },
    follow: (port) => followValues(natsSource(`127.0.0.1:${port}`, "tls", KEY)),
  },
};

for (const [name, store] of Object.entries(stores)) {
  test(`Reloader.follow() serves what ${name} holds, also after it was killed and stopped`, {
    skip: missing(store.command),
  }, async (t) => {
    const engine = await Engine.start(store.command, store.args);
    t.after(() => engine[Symbol.asyncDispose]());
    await until(() => store.put(engine.port, issued[0]).then(() => true, () => false));
    const { state, reloader } = await store.follow(engine.port);
    t.after(() => reloader.close());
    const errors: string[] = [];
    reloader.addEventListener("reject", (event) => {
      event.preventDefault();
      errors.push((event.detail.error as { code?: string }).code ?? "");
    });
    await nextEvent(reloader, "unchanged");
    const server = await echoServer(state);
    t.after(() => server[Symbol.asyncDispose]());
    let count = 0;
    const change = async () => {
      const next = issued[++count % 3]!;
      await until(() => store.put(engine.port, next).then(() => true, () => false));
      const began = performance.now();
      while ((await visit(server.port)).fingerprint256 !== next.fingerprint256) {
        assert(performance.now() - began < MISSED_MS, "the change was missed");
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return performance.now() - began;
    };

    const times: number[] = [];
    for (let changes = 0; changes < CHANGES; changes++) times.push(await change());
    times.sort((a, b) => a - b);
    t.diagnostic?.(`${name}: median ${times[CHANGES / 2]!.toFixed(0)} ms, longest ${times.at(-1)!.toFixed(0)} ms`);
    assert(times[CHANGES / 2]! < 250, `${times}`);

    for (let restarts = 0; restarts < RESTARTS; restarts++) {
      const disconnected = nextEvent(reloader, "disconnect");
      await engine.kill();
      await disconnected;
      await engine.resurrect();
      await change();
    }
    engine.pause();
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    engine.resume();
    await change();

    const { reconnects, items } = reloader.status().streams[0]!;
    assert(reconnects >= RESTARTS && reconnects <= 4 * RESTARTS, `${reconnects} reconnects`);
    assert(items > 0);
    // Never a torn pair.
    assert(!errors.includes("KEY_MISMATCH"), `${errors}`);
  });
}
