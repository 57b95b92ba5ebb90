import { assert, assertEquals } from "@std/assert";
import { EventEmitter, once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";
import test from "node:test";
import { isDeepStrictEqual } from "node:util";
import { TlsConfig, TlsState } from "../../mod.ts";
import { Front } from "../../src/native/front.ts";
import { type Listen, listenOn } from "../../src/native/public_listener.ts";
import type { Backend } from "../../src/native/front_generations.ts";
import type { ServingOptions } from "../../src/native/serving_options.ts";
import { issuePair } from "../support/certificates.ts";
import { explore, type Model, resting, rests, tours } from "./explore.ts";
import { FRONT_RULES, type FrontBounds, frontModel, type FrontState, heldBy, living } from "./front_model.ts";

/** Takes minutes: all walks, also through larger machines. */
const ALL = process.env["TLS_RELOAD_MODEL"] === "all";
/** How many walks through a machine are taken otherwise. */
const SAMPLE = ALL ? Infinity : 45;

for (
  const bounds of [{ swaps: 2, clients: 2 }, { swaps: 2, clients: 2, drains: true }, {
    swaps: 3,
    clients: 1,
    retries: true,
  }]
) {
  test(`the protocol of generations keeps its promises in every order of ${JSON.stringify(bounds)}`, () => {
    const { counterexample, states } = explore(frontModel(bounds));
    assertEquals(counterexample, undefined);
    assert(states > 1_000, `${states} states are no search`);
  });
}

for (const without of FRONT_RULES) {
  test(`the protocol of generations breaks without: ${without}`, () => {
    assert(explore(frontModel({ swaps: 2, clients: 2, retries: true, without })).counterexample, "nobody misses it");
  });
}

/** What can be seen of a front from without. */
interface Seen {
  readonly generations: readonly { readonly generation: number; readonly connections: number }[];
  readonly starting: readonly number[];
  readonly closed: readonly number[];
  readonly guarded: readonly number[];
  /** Of each client that is still connected the generation that it got, or `undefined` while it waits. */
  readonly clients: readonly (number | undefined | "left")[];
  readonly isFinished: boolean;
}

function expected(state: FrontState): Seen {
  return {
    generations: living(state).map((generation) => ({ generation, connections: heldBy(state, generation).length })),
    starting: state.attempts.map(({ of }) => of),
    closed: state.closed,
    guarded: state.guarded,
    clients: state.clients.map(({ phase, by, isGone }) => isGone || phase === "ended" ? "left" : by),
    isFinished: state.isFinished,
  };
}

const config = new TlsConfig(await issuePair("model"));

/** A real front on a real port, which takes the steps of the machine. The only part that knows how a front is used. */
class RealFront {
  readonly #state: TlsState;
  readonly #accepted = new EventEmitter();
  readonly #failed = new Set<number>();
  readonly #starts = new Map<number, PromiseWithResolvers<void>>();
  readonly #clients: { readonly socket: Socket; text: string; isLeft: boolean }[] = [];
  readonly #closed: number[] = [];
  readonly #guarded: number[] = [];
  readonly #errors: unknown[] = [];
  /** The generations that were given a connection after they had been closed. */
  readonly #servedLate: number[] = [];
  readonly #options: ServingOptions;
  #front!: Front<undefined>;
  #isFinished = false;

  constructor(drains: boolean) {
    this.#options = { onTlsError: (error) => this.#errors.push(error) };
    this.#state = new TlsState(config, drains ? { drain: { when: "always", graceMs: 1 } } : {});
  }

  async open(): Promise<void> {
    const listenOnLoopback = listenOn({ hostname: "127.0.0.1", port: 0 });
    const listen: Listen = (events) => {
      const onAccepted = (client: Socket) => {
        events.onAccepted(client);
        this.#accepted.emit("client");
      };
      return listenOnLoopback({ ...events, onAccepted });
    };
    const start = async ({ generation }: { generation: number }) => {
      // No walk tries again what has failed. When the time for that comes, it fails again, and nothing is seen of it.
      if (this.#failed.has(generation)) throw new Error("cannot start");
      if (generation > 0) {
        const starting = Promise.withResolvers<void>();
        this.#starts.set(generation, starting);
        await starting.promise.finally(() => this.#starts.delete(generation));
      }
      return this.#backend(generation);
    };
    this.#front = await Front.open(this.#state, { listen, start }, this.#options);
    this.#front.finished.then(() => this.#isFinished = true);
  }

  #backend(generation: number): Backend<undefined> {
    return {
      server: undefined,
      serve: (client) => {
        if (this.#closed.includes(generation)) this.#servedLate.push(generation);
        client.write(`${generation}\n`);
        client.pipe(client);
      },
      refuseDirectConnections: () => {
        if (!this.#guarded.includes(generation)) this.#guarded.push(generation);
      },
      stop: () => void this.#closed.push(generation),
    };
  }

  async take(step: string): Promise<void> {
    const number = Number(/\d+/.exec(step)?.[0]);
    if (step === "swap") this.#state.swap(config);
    else if (step === "accept") await this.#connect();
    else if (step.endsWith("succeeds")) this.#starts.get(number)!.resolve();
    else if (step.endsWith("fails")) this.#fail(number);
    else if (step.startsWith("leave")) this.#leave(number);
    else if (step === "close") this.#front.close();
    else this.#front.destroy();
  }

  get seen(): Seen {
    return {
      generations: this.#front.generations,
      starting: [...this.#starts.keys()],
      closed: [...this.#closed],
      guarded: [...this.#guarded],
      clients: this.#clients.map(({ text, isLeft }) => isLeft ? "left" : text ? Number(text) : undefined),
      isFinished: this.#isFinished,
    };
  }

  /** Ends it, and asserts that nothing is left. */
  async end(): Promise<void> {
    this.#front.destroy();
    for (const starting of this.#starts.values()) starting.resolve();
    for (const index of this.#clients.keys()) this.#leave(index);
    assert(await until(() => this.#starts.size === 0 && this.#isFinished && this.#front.generations.length === 0));
    assertEquals([this.#servedLate, this.#errors.map(String)], [[], this.#errors.map(() => "Error: cannot start")]);
  }

  async #connect(): Promise<void> {
    const accepted = once(this.#accepted, "client");
    const client = { socket: connect(this.#front.address.port, "127.0.0.1"), text: "", isLeft: false };
    this.#clients.push(client);
    client.socket.on("error", () => {}).on("data", (chunk) => client.text += chunk);
    client.socket.once("end", () => client.isLeft = true).once("close", () => client.isLeft = true);
    await Promise.all([accepted, once(client.socket, "connect")]);
  }

  #fail(generation: number): void {
    this.#failed.add(generation);
    this.#starts.get(generation)!.reject(new Error("cannot start"));
  }

  #leave(index: number): void {
    const client = this.#clients[index]!;
    client.isLeft = true;
    client.socket.destroy();
  }
}

/** More than there are between a start and the connections that waited for it. */
const TURNS = 12;

/** Resolves when a condition holds that events of sockets bring about; `false` if it does not seem to. */
async function until(condition: () => boolean): Promise<boolean> {
  for (let turn = 0; turn < 5_000; turn++) {
    if (condition()) return true;
    await new Promise((resolve) => turn < 100 ? setImmediate(resolve) : setTimeout(resolve, 1));
  }
  return false;
}

async function replay(model: Model<FrontState>, walk: readonly string[], drains: boolean): Promise<void> {
  const state = structuredClone(model.initial);
  await withFront(drains, async (real) => {
    for (const [index, step] of walk.entries()) {
      model.take(state, step);
      await real.take(step);
      if (await until(() => isDeepStrictEqual(real.seen, expected(state)))) continue;
      assertEquals(real.seen, expected(state), `after ${walk.slice(0, index + 1).join(", ")}`);
    }
  });
}

/** Leaves nothing open, also where something is wrong. */
async function withFront(drains: boolean, body: (real: RealFront) => Promise<void>): Promise<void> {
  const real = new RealFront(drains);
  await real.open();
  try {
    await body(real);
  } catch (error) {
    await real.end().catch(() => {});
    throw error;
  }
  await real.end();
}

const REPLAYED: readonly FrontBounds[] = [
  { swaps: 1, clients: 1 },
  { swaps: 1, clients: 2 },
  { swaps: 2, clients: 1 },
  { swaps: 1, clients: 2, drains: true },
  ...(ALL ? [{ swaps: 2, clients: 2 }] : []),
];
for (const bounds of REPLAYED) {
  test(`Front does what the machine does, at steps of ${JSON.stringify(bounds)}`, async () => {
    const model = resting(frontModel(bounds));
    const walks = tours(model);
    // Those that are left out lie between those that are taken, so that each part of the machine has its share.
    const stride = Math.max(1, walks.length / SAMPLE);
    for (let at = 0; at < walks.length; at += stride) {
      await replay(model, walks[Math.floor(at)]!, bounds.drains ?? false);
    }
  });
}

for (const step of ["swap", "close", "destroy"]) {
  for (const start of ["start of 1 succeeds", "start of 1 fails"]) {
    test(`Front comes to where the machine may come after ${step} at any turn of ${start}`, async () => {
      const model = frontModel({ swaps: 2, clients: 1 });
      const before = resting(model);
      for (let turns = 0; turns < TURNS; turns++) {
        const state = structuredClone(before.initial);
        await withFront(false, async (real) => {
          for (const each of ["swap", "accept"]) {
            before.take(state, each);
            await real.take(each);
          }
          model.take(state, start);
          const possible = rests(model, state, step).map(expected);
          await Promise.all([real.take(start), inTurns(turns, () => real.take(step))]);
          const isPossible = await until(() => possible.some((each) => isDeepStrictEqual(real.seen, each)));
          assert(isPossible, `after ${turns} turns: ${JSON.stringify(real.seen)}, not ${JSON.stringify(possible)}`);
        });
      }
    });
  }
}

async function inTurns(turns: number, body: () => Promise<void>): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await undefined;
  await body();
}
