// Nine processes on three runtimes that follow one store: deno task bench --only fleet
//   how soon all of them serve a change, and what it costs their clients to roll over the client authority
import { type Issued, issueServer } from "../tests/support/certificates.ts";
import { Engine } from "../tests/support/engines.ts";
import { Fleet } from "../tests/support/fleet.ts";
import { visit } from "../tests/support/peers.ts";
import { STORES } from "../tests/support/stores.ts";
import type { TlsConfigInit } from "../mod.ts";
import type { Bench } from "./support/bench.ts";
import { quantile, type Table, TableBuilder } from "./support/report.ts";
import { type Authority, issueAuthority, type RollOver, rollOver } from "./support/roll_over.ts";
import { timelineOf } from "./support/timeline.ts";

/** Of each runtime. */
const SIZE = 3;
const CHANGES = 10;
/** A roll-over takes as long as the clients take to renew. */
const MOST_ROLL_OVERS = 2;
const NAMES = { etcd: "etcd", redis: "Redis", nats: "NATS" } as const;
type StoreName = keyof typeof NAMES;

/** A running store, and the fleet that follows it. */
interface World extends AsyncDisposable {
  readonly fleet: Fleet;
  put(value: TlsConfigInit): Promise<void>;
}

async function openWorld({ runtimes: { deno, bun, node } }: Bench, name: StoreName, first: TlsConfigInit) {
  const store = STORES[name];
  const engine = await Engine.start(store.command, store.args);
  const put = (value: TlsConfigInit) => store.put(engine.port, value);
  // It accepts connections before it is ready.
  while (!await put(first).then(() => true, () => false));
  const fleet = await Fleet.start({ deno, bun, node }, SIZE, { name, port: engine.port });
  const world: World = {
    fleet,
    put,
    async [Symbol.asyncDispose]() {
      await fleet[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
    },
  };
  return world;
}

export async function measureFleet(bench: Bench): Promise<Table[]> {
  return [await measureChanges(bench), await measureRollOver(bench)];
}

const [ONE_P50, ONE_P99, ALL_P50, ALL_P99] = [
  "one, p50 ms",
  "one, p99 ms",
  "all nine, p50 ms",
  "all nine, p99 ms",
] as const;

async function measureChanges(bench: Bench): Promise<Table> {
  const changes = bench.isQuick ? 3 : CHANGES;
  const table = new TableBuilder({
    title: "A change of a store",
    about: `From the call that puts a new certificate to a handshake that is served it, in ${3 * SIZE} processes, ` +
      `${SIZE} on each runtime, that follow the store by examples/; ${changes} changes in each round. p50 is of each ` +
      "round, p99 of all. All of it shares 2 cores.",
    columns: [ONE_P50, ONE_P99, ALL_P50, ALL_P99].map((name) => ({
      name,
      isCompared: false,
      isCharted: name === ALL_P99,
    })),
  });
  for (const [store, name] of Object.entries(NAMES) as [StoreName, string][]) {
    if (!bench.peers.has(name)) {
      table.absent.push(name);
      continue;
    }
    table.row({ name, isOurs: true });
    const [ones, alls]: [number[], number[]] = [[], []];
    const { cert, key } = await issueServer("first");
    await using world = await openWorld(bench, store, { cert, key });
    // The first one is not counted, because nothing is warm.
    await timeChange(world);
    for (let round = 0; round < bench.rounds; round++) {
      const times: number[][] = [];
      for (let change = 0; change < changes; change++) times.push(await timeChange(world));
      const longest = times.map((each) => Math.max(...each));
      table.add(name, ONE_P50, quantile(times.flat(), 0.5));
      table.add(name, ALL_P50, quantile(longest, 0.5));
      ones.push(...times.flat());
      alls.push(...longest);
    }
    table.add(name, ONE_P99, quantile(ones, 0.99));
    table.add(name, ALL_P99, quantile(alls, 0.99));
  }
  return table.build();
}

/** Puts a new certificate, and returns after how long each process serves it. */
async function timeChange({ fleet, put }: World): Promise<number[]> {
  const issued = await issueServer("next");
  const start = performance.now();
  const putting = put({ cert: issued.cert, key: issued.key });
  const times = await Promise.all(fleet.members.map(async (member) => {
    await member.swapped(issued.fingerprint256);
    const { fingerprint256 } = await visit(member.port);
    if (fingerprint256 !== issued.fingerprint256) throw new Error(`${member.name} serves another certificate`);
    return performance.now() - start;
  }));
  await putting;
  return times;
}

function trusting({ cert, key }: Issued, authorities: readonly Authority[]): TlsConfigInit {
  return { cert, key, clientAuth: { mode: "required", ca: authorities.map(({ ca }) => ca.cert).join("") } };
}

const [VISITS, REFUSED, TO_BOTH, UNUSED, TO_NEXT, CLOSED] = [
  "connections",
  "refused or cut",
  "s to trust both",
  "s until the old one is out of use",
  "s to trust the next alone",
  "refuse the old one in the end",
] as const;
const WAYS = ["two steps, driven by /metrics", "one step, for comparison"] as const;

async function measureRollOver(bench: Bench): Promise<Table> {
  const table = new TableBuilder({
    title: "Rolling over a client authority",
    about: `${3 * SIZE} processes, ${SIZE} on each runtime, follow etcd. Their clients come and go, and each renews ` +
      "its certificate at its own time within 6 s. In two steps, the next authority is added; once `trust_digest` is " +
      "the same in all processes, clients renew; once `authority_connections` of the old one is 0 and " +
      "`authority_used_timestamp_seconds` 2 s old in all, it is removed. In one step it is replaced.",
    columns: [VISITS, REFUSED, TO_BOTH, UNUSED, TO_NEXT, CLOSED].map((name) => ({ name, isCompared: false })),
  });
  if (!bench.peers.has(NAMES.etcd)) return { ...table.build(), absent: [...WAYS] };
  let picture: string | undefined;
  for (const way of WAYS) table.row({ name: way, isOurs: way === WAYS[0] });
  for (let round = 0; round < Math.min(bench.rounds, MOST_ROLL_OVERS); round++) {
    const [old, next, third] = await Promise.all(["old", "next", "third"].map((name) => issueAuthority(name)));
    const server = await issueServer("fleet");
    await using world = await openWorld(bench, "etcd", trusting(server, [old!]));
    const put = (authorities: readonly Authority[]) => world.put(trusting(server, authorities));
    for (const [way, pair] of [[WAYS[0], [old!, next!]], [WAYS[1], [next!, third!]]] as const) {
      const outcome = await rollOver(world.fleet, put, pair, way === WAYS[0]);
      addTo(table, way, outcome);
      if (way === WAYS[0]) picture = timelineOf(outcome, pair);
    }
  }
  return { ...table.build(), ...(picture !== undefined && { picture }) };
}

function addTo(table: TableBuilder, way: string, { visits, refused, closed, steps }: RollOver): void {
  table.add(way, VISITS, visits);
  table.add(way, REFUSED, refused);
  table.add(way, CLOSED, closed);
  const at = (name: string) => steps.find((step) => step.name === name)?.atMs ?? NaN;
  for (
    const [column, from, to] of [
      [TO_BOTH, "both are put", "all trust both"],
      [UNUSED, "all trust both", "the old one is out of use"],
      [TO_NEXT, "the next one is put", "all trust the next one alone"],
    ] as const
  ) {
    const seconds = (at(to) - at(from)) / 1_000;
    if (!Number.isNaN(seconds)) table.add(way, column, seconds);
  }
}
