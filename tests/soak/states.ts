// The states that the servers follow, each kept in sync in another way.
import { join } from "node:path";
import { loadTlsConfig, type TlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { type Followed, STORES } from "../support/stores.ts";

export type StoreName = keyof typeof STORES;
export type StateName = "names" | "mutual" | StoreName;

/** The names that each state has certificates for; the first one is the default. */
export const NAMES: Readonly<Record<StateName, readonly string[]>> = {
  names: ["localhost", "other.test"],
  mutual: ["localhost"],
  etcd: ["localhost"],
  redis: ["localhost"],
  nats: ["localhost"],
};

/** Every swap of a store ends the older connections, so that they are drained all the time. */
const DRAIN = { when: "always", spreadMs: 2_000, graceMs: 10_000 } as const;
/** Clients of removed authorities that the server does not know end by force after this time. */
export const SPREAD_MS = 2_000;

/** Where the material of the states is. */
export interface Sources {
  readonly folder: string;
  /** The ports of the stores. */
  readonly stores: Readonly<Partial<Record<StoreName, number>>>;
}

/** Starts all states: watched files, files that are read on demand, and what the stores hold. */
export async function followAll({ folder, stores }: Sources): Promise<Map<StateName, Followed>> {
  const file = (name: string) => join(folder, name);
  const pairs = NAMES.names.map((name) => ({ cert: file(`names-${name}.crt`), key: file(`names-${name}.key`) }));
  const clientAuth = {
    ca: file("mutual.ca"),
    crl: file("mutual.crl"),
    intermediates: file("mutual.intermediates"),
    mode: "required",
  } as const;
  const names = await fromFiles(() => loadTlsConfig(pairs));
  names.reloader.watch(pairs.flatMap(({ cert, key }) => [cert, key]), { settleMs: 50, pollIntervalMs: 2_000 });
  const states = new Map<StateName, Followed>([
    ["names", names],
    [
      "mutual",
      await fromFiles(() => loadTlsConfig(file("mutual-localhost.crt"), file("mutual-localhost.key"), { clientAuth })),
    ],
  ]);
  for (const [name, port] of Object.entries(stores) as [StoreName, number][]) {
    states.set(name, await STORES[name].follow(port, { drain: DRAIN }));
  }
  return states;
}

async function fromFiles(load: () => Promise<TlsConfig>): Promise<Followed> {
  const state = new TlsState(await load(), { drain: { spreadMs: SPREAD_MS } });
  return { state, reloader: new Reloader(state, load) };
}
