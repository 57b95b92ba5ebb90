import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import test from "node:test";
import { isDeepStrictEqual } from "node:util";
import { type TlsConfig, TlsState } from "../../mod.ts";
import { Reloader } from "../../src/reload.ts";
import { issueServer } from "../support/certificates.ts";
import { configOf } from "../support/peers.ts";
import { explore, type Model, resting, rests, tours } from "./explore.ts";
import {
  type Content,
  isInSync,
  type Outcome,
  RELOADER_RULES,
  reloaderModel,
  type ReloaderState,
} from "./reloader_model.ts";

/** Takes minutes: all walks, also through a larger machine. */
const ALL = process.env["TLS_RELOAD_MODEL"] === "all";
/** How many walks through a machine are taken otherwise. */
const SAMPLE = ALL ? Infinity : 40;
/** More than there are between the end of a load and the reload that waited for it. */
const TURNS = 16;
const CONTENTS: readonly Content[] = ["broken", "first", "second", "expired", "ahead"];
/** One certificate that is valid is enough to see what breaks. */
const EXPLORED = ALL ? CONTENTS : CONTENTS.filter((content) => content !== "second");

for (
  const bounds of [
    { requests: 2, changes: 2 },
    { requests: 3, changes: 1 },
    ...(ALL ? [{ requests: 4, changes: 2 }] : []),
  ]
) {
  test(`the protocol of reloads keeps its promises in every order of ${JSON.stringify(bounds)}`, () => {
    const { counterexample, states } = explore(reloaderModel({ ...bounds, contents: EXPLORED }));
    assertEquals(counterexample, undefined);
    assert(states > 1_000, `${states} states are no search`);
  });
}

for (const without of RELOADER_RULES) {
  test(`the protocol of reloads breaks without: ${without}`, () => {
    const bounds = [{ requests: 3, changes: 1 }, { requests: 2, changes: 2 }];
    const isMissed = bounds.some((each) =>
      explore(reloaderModel({ ...each, contents: EXPLORED, without })).counterexample
    );
    assert(isMissed, "nobody misses it");
  });
}

/** What can be seen of a reloader from without. */
interface Seen {
  readonly outcomes: readonly (Outcome | undefined)[];
  readonly current: Content;
  readonly loads: number;
  readonly loading: number;
  readonly told: number;
  readonly failures: number;
  readonly isPending: boolean;
  readonly inSync: boolean | undefined;
  /** `close()` has resolved. */
  readonly isDown: boolean;
}

function expected(state: ReloaderState): Seen {
  const { requests, isPending, isDown } = state;
  return {
    outcomes: requests.map(({ outcome }) => outcome),
    current: state.current,
    loads: state.loads,
    loading: state.runs.length,
    told: state.told,
    failures: state.failures,
    isPending,
    inSync: isInSync(state),
    isDown,
  };
}

const HOUR_MS = 3_600_000;
/** When the certificate that lies ahead becomes valid: a whole second, as times of certificates are. */
const BEGIN = Math.ceil(Date.now() / 1000) * 1000 + HOUR_MS;
const from = (begin: number, end: number) => ({ notBefore: new Date(begin), notAfter: new Date(end) });
const configs = {
  first: configOf(await issueServer("first", from(BEGIN - 2 * HOUR_MS, BEGIN + HOUR_MS))),
  second: configOf(await issueServer("second", from(BEGIN - 2 * HOUR_MS, BEGIN + HOUR_MS))),
  expired: configOf(await issueServer("expired", from(BEGIN - 3 * HOUR_MS, BEGIN - 2 * HOUR_MS))),
  ahead: configOf(await issueServer("ahead", from(BEGIN, BEGIN + HOUR_MS))),
};

// The clock stands still, so close to the time that timers look at it again and again.
let now = BEGIN - 1;
Date.now = () => now;

/** A real reloader, whose source is read and whose loads end when the machine says so. */
class RealReloader {
  readonly #state = new TlsState(configs.first);
  readonly #loading = new Set<{ end(): void }>();
  readonly #reloader = new Reloader(this.#state, () => this.#load());
  readonly #outcomes: (Outcome | undefined)[] = [];
  #content: Content = "first";
  #loads = 0;
  #told = 0;
  #isDown = false;

  constructor() {
    now = BEGIN - 1;
    for (const type of ["swap", "unchanged", "pending", "reject", "expiring"]) {
      this.#reloader.addEventListener(type, (event) => {
        event.preventDefault();
        if (type !== "expiring") this.#told++;
      });
    }
  }

  take(step: string): void {
    if (step.startsWith("source: ")) this.#content = step.slice("source: ".length) as Content;
    else if (step.startsWith("load")) this.#endLoad();
    else if (step === "the validity begins") now = BEGIN;
    else if (step === "close") void this.#reloader.close().then(() => this.#isDown = true);
    else {
      const id = this.#outcomes.push(undefined) - 1;
      void this.#reloader.reload({ force: step.endsWith("force") }).then(({ outcome }) => {
        this.#outcomes[id] = outcome;
      });
    }
  }

  get seen(): Seen {
    const { failuresInARow, inSync, pending } = this.#reloader.status();
    const current = Object.entries(configs).find(([, config]) => config === this.#state.current())!;
    return {
      outcomes: [...this.#outcomes],
      current: current[0] as Content,
      loads: this.#loads,
      loading: this.#loading.size,
      told: this.#told,
      failures: failuresInARow,
      isPending: pending !== undefined,
      inSync,
      isDown: this.#isDown,
    };
  }

  /** Ends it, and asserts that everybody gets an answer. */
  async end(): Promise<void> {
    void this.#reloader.close();
    const isDone = () => {
      if (this.#loading.size > 0) this.#endLoad();
      return this.#outcomes.every((outcome) => outcome);
    };
    assert(await until(isDone), `somebody waits for ever: ${this.#outcomes}`);
    await this.#reloader.close();
    assertEquals(this.#loading.size, 0);
  }

  #load(): Promise<TlsConfig> {
    this.#loads++;
    const content = this.#content;
    return new Promise((resolve, reject) => {
      const loading = {
        end: () => {
          this.#loading.delete(loading);
          if (content === "broken") reject(new Error("broken"));
          else resolve(configs[content]);
        },
      };
      this.#loading.add(loading);
    });
  }

  #endLoad(): void {
    const [loading] = this.#loading;
    loading!.end();
  }
}

/** Resolves when a condition holds that events bring about; to `false`, if it does not seem to. */
async function until(condition: () => boolean): Promise<boolean> {
  for (let turn = 0; turn < 5_000; turn++) {
    if (condition()) return true;
    await new Promise((resolve) => turn < 100 ? setImmediate(resolve) : setTimeout(resolve, 1));
  }
  return false;
}

async function replay(model: Model<ReloaderState>, walk: readonly string[]): Promise<void> {
  const state = structuredClone(model.initial);
  const real = new RealReloader();
  for (const [index, step] of walk.entries()) {
    model.take(state, step);
    real.take(step);
    if (await until(() => isDeepStrictEqual(real.seen, expected(state)))) continue;
    assertEquals(real.seen, expected(state), `after ${walk.slice(0, index + 1).join(", ")}`);
  }
  await real.end();
}

for (
  const bounds of [
    { requests: 2, changes: 1 },
    { requests: 3, changes: 0 },
    ...(ALL ? [{ requests: 3, changes: 1 }] : []),
  ]
) {
  test(`Reloader does what the machine does, at steps of ${JSON.stringify(bounds)}`, async () => {
    const model = resting(reloaderModel({ ...bounds, contents: CONTENTS }));
    const walks = tours(model);
    // Those that are left out lie between those that are taken, so that each part of the machine has its share.
    const stride = Math.max(1, walks.length / SAMPLE);
    for (let at = 0; at < walks.length; at += stride) await replay(model, walks[Math.floor(at)]!);
  });
}

/**
 * Too far into larger machines for a sample: what waits survives a failure, and no other certificate; a success after a
 * failure; who forces among others, and none after it.
 */
const FAR: readonly (readonly string[])[] = [
  ...["broken", "expired", "second"].map((content) => {
    const [ahead, other] = ["ahead", content].map((each) => [`source: ${each}`, "reload", "load 0 ends"]);
    return [...ahead!, ...other!, "the validity begins"];
  }),
  ["source: broken", "reload", "load 0 ends", "source: second", "reload", "load 0 ends"],
  ["source: expired", "reload", "reload", "reload by force", "load 0 ends", "load 0 ends"],
  [
    "reload",
    "reload by force",
    "load 0 ends",
    "load 0 ends",
    "source: expired",
    "reload",
    "reload",
    "load 0 ends",
    "load 0 ends",
  ],
];
for (const walk of FAR) {
  test(`Reloader does what the machine does: ${walk.join(", ")}`, async () => {
    await replay(resting(reloaderModel({ requests: 4, changes: 2, contents: CONTENTS })), walk);
  });
}

for (const step of ["reload", "reload by force", "the validity begins", "close"]) {
  for (const content of ["first", "broken", "expired", "ahead"]) {
    test(`Reloader comes to where the machine may come after ${step} at any turn of a load of ${content}`, async () => {
      const model = reloaderModel({ requests: 3, changes: 2, contents: CONTENTS });
      for (let turns = 0; turns < TURNS; turns++) {
        const before = resting(model);
        const state = structuredClone(before.initial);
        const real = new RealReloader();
        // The second one waits for the first.
        for (const each of [...(content === "first" ? [] : [`source: ${content}`]), "reload", "reload"]) {
          before.take(state, each);
          real.take(each);
        }
        assert(await until(() => isDeepStrictEqual(real.seen, expected(state))));
        model.take(state, "load 0 ends");
        const possible = rests(model, state, step).map(expected);
        real.take("load 0 ends");
        for (let turn = 0; turn < turns; turn++) await undefined;
        real.take(step);
        const isPossible = await until(() => possible.some((each) => isDeepStrictEqual(real.seen, each)));
        assert(isPossible, `after ${turns} turns: ${JSON.stringify(real.seen)}, not ${JSON.stringify(possible)}`);
        await real.end();
      }
    });
  }
}
