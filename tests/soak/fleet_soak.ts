// Nine processes on three runtimes follow etcd, Redis and NATS, each of which is killed ten times and stopped for 20 s;
// then 21 processes spread their reloads. Reports, and fails if a change is missed, a pair is torn, or the spread is uneven:
//   deno run -A tests/soak/fleet_soak.ts [etcd|redis|nats|splay ...]
import assert from "node:assert/strict";
import process from "node:process";
import { type Issued, issueServer } from "../support/certificates.ts";
import { Engine } from "../support/engines.ts";
import { Fleet } from "../support/fleet.ts";
import { visit } from "../support/peers.ts";
import { deno, installRuntimes } from "../support/runtimes.ts";
import { STORES } from "../support/stores.ts";

const KILLS = 10;
const PAUSE_MS = 20_000;
/** The longest until a change is served: the longest pause before a subscription, with its jitter, and some time to load. */
const MISSED_MS = 35_000;
const SPLAY_MS = 5_000;
const SPLAYED_CHANGES = 5;
/** The limit of the Kolmogorov–Smirnov distance that an even spread exceeds in one run of a thousand: 1.95 / √n. */
const UNEVEN = 1.95;
type StoreName = keyof typeof STORES;

const { bun, node } = await installRuntimes();
const runtimes = { deno, bun, node };
const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** An engine, and the fleet that follows it. */
class World implements AsyncDisposable {
  readonly fleet: Fleet;
  readonly engine: Engine;
  readonly #name: StoreName;

  private constructor(name: StoreName, engine: Engine, fleet: Fleet) {
    this.#name = name;
    this.engine = engine;
    this.fleet = fleet;
  }

  static async open(name: StoreName, size: number, splayMs: number): Promise<World> {
    const engine = await Engine.start(STORES[name].command, STORES[name].args);
    await put(name, engine, await issueServer("first"));
    return new World(name, engine, await Fleet.start(runtimes, size, { name, port: engine.port, splayMs }));
  }

  /** Puts a new certificate. Returns after how long each member serves it, in milliseconds from the end of the put. */
  async change(): Promise<number[]> {
    const issued = await issueServer("next");
    await put(this.#name, this.engine, issued);
    const start = performance.now();
    const served = this.fleet.members.map(async (member) => {
      await Promise.race([member.swapped(issued.fingerprint256), delay(MISSED_MS)]);
      const { fingerprint256 } = await visit(member.port);
      assert(fingerprint256 === issued.fingerprint256, `${member.name} has missed a change of ${this.#name}`);
      return performance.now() - start;
    });
    return await Promise.all(served);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet[Symbol.asyncDispose]();
    await this.engine[Symbol.asyncDispose]();
  }
}

/** Puts a certificate, as soon as the engine is ready. */
async function put(name: StoreName, { port }: Engine, { cert, key }: Issued): Promise<void> {
  while (!await STORES[name].put(port, { cert, key }).then(() => true, () => false)) await delay(20);
}

/** Kills the engine again and again, and stops it once. A change comes as soon as it is back. */
async function disturb(name: StoreName): Promise<void> {
  await using world = await World.open(name, 3, 0);
  const calm = await world.change();
  const afterKills: number[] = [];
  for (let kills = 0; kills < KILLS; kills++) {
    await world.engine.kill();
    // Long enough for the members to be between two subscriptions, or in the middle of one.
    await delay(Math.random() * 3_000);
    await world.engine.resurrect();
    afterKills.push(...await world.change());
  }
  world.engine.pause();
  const resumed = delay(PAUSE_MS).then(() => world.engine.resume());
  const afterPause = await world.change();
  await resumed;
  const rejections = world.fleet.members.flatMap((member) => member.rejections);
  const torn = rejections.filter((code) => code === "KEY_MISMATCH");
  assert(torn.length === 0, `${torn.length} torn pairs`);
  const [first, last] = await reconnectsOf(world.fleet);
  console.log(
    `${name}: longest until all served a change: ${longest(calm)} undisturbed, ${longest(afterKills)} after ${KILLS} ` +
      `kills, ${longest(afterPause)} after ${PAUSE_MS / 1_000} s stopped; ${first} to ${last} reconnects each; ` +
      `rejected: ${JSON.stringify(countsOf(rejections))}`,
  );
}

/** The least and the most reconnects of a member. */
async function reconnectsOf({ members }: Fleet): Promise<readonly [number, number]> {
  const counts = await Promise.all(members.map(async (member) => {
    return (await member.metrics()).find(({ name }) => name === "tls_reload_stream_reconnects_total")!.value;
  }));
  return [Math.min(...counts), Math.max(...counts)];
}

/** Processes share out the time of the splay. */
async function spread(): Promise<void> {
  await using world = await World.open("etcd", 7, SPLAY_MS);
  const moments: number[] = [];
  for (let change = 0; change < SPLAYED_CHANGES; change++) moments.push(...await world.change());
  moments.sort((one, other) => one - other);
  const distance = Math.max(...moments.map((ms, index) => Math.abs((index + 0.5) / moments.length - ms / SPLAY_MS)));
  const seconds = Array.from({ length: SPLAY_MS / 1_000 }, (_, second) => {
    return moments.filter((ms) => Math.floor(ms / 1_000) === second).length;
  });
  console.log(
    `splay of ${SPLAY_MS} ms: ${moments.length} swaps in ${world.fleet.members.length} processes, by second: ${
      seconds.join(", ")
    }`,
  );
  assert(distance < UNEVEN / Math.sqrt(moments.length), `the spread is uneven: ${distance.toFixed(3)}`);
}

const longest = (times: readonly number[]) => `${(Math.max(...times) / 1_000).toFixed(2)} s`;

function countsOf(codes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const code of codes) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

const chosen = process.argv.slice(2);
for (const name of chosen.length > 0 ? chosen : [...Object.keys(STORES), "splay"]) {
  if (name === "splay") await spread();
  else await disturb(name as StoreName);
}
