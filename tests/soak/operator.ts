// The operator of a state: renews its material, rolls it back, and makes mistakes.
import { setTimeout as delay } from "node:timers/promises";
import { type Issued, issueServer } from "../support/certificates.ts";
import { STORES } from "../support/stores.ts";
import { DAYS, issueLeaf } from "./authorities.ts";
import { servesLatest } from "./clients.ts";
import type { Ledger } from "./ledger.ts";
import { type Files, nextFiles, pairOf, valueOf, writeFiles } from "./material.ts";
import type { Random } from "./random.ts";
import type { Outcome } from "./server.ts";
import { type SoakRun, Violation } from "./soak_run.ts";
import { NAMES, type Sources, type StateName } from "./states.ts";

/** Longer than the longest pause before a store is followed again, and than all disturbances, on a busy machine. */
export const PATIENCE_MS = 120_000;
const RETRY_MS = 200;
/** A value that is pushed cannot be read again later. */
const NOT_YET_VALID = ["pending", "CERTIFICATE_NOT_YET_VALID"];

/** A pair that must not be served, and the outcomes that say why. */
type Mistake = (good: Issued, random: Random, run: SoakRun) => Mistaken | Promise<Mistaken>;
type Mistaken = [pair: { cert: string | Uint8Array; key: string }, outcomes: readonly string[]];

const MISTAKES: Readonly<Record<string, Mistake>> = {
  "garbage": ({ key }, random) => [{ cert: random.bytes(2_000), key }, ["PEM_INVALID", "NO_CERTIFICATE"]],
  "empty file": ({ key }) => [{ cert: "", key }, ["NO_CERTIFICATE"]],
  "half written": ({ cert, key }, random) => {
    const end = cert.indexOf("-----END");
    return [{ cert: cert.slice(0, random.between(30, end)), key }, ["PEM_INVALID"]];
  },
  "key cut": ({ cert, key }) => [{ cert, key: key.slice(0, key.length / 2) }, ["PEM_INVALID"]],
  "key of another": async ({ cert }) => [{ cert, key: (await issueServer("other")).key }, ["KEY_MISMATCH"]],
  "chain turned round": async (_good, _random, { authorities: { intermediate } }) => {
    const { cert, key } = await issueServer("turned", { issuer: intermediate });
    return [{ cert: cert.split(/(?<=END CERTIFICATE-----\n)/).toReversed().join(""), key }, ["KEY_MISMATCH"]];
  },
  "expired": async (_good, random, { authorities }) => {
    const validity = { notBefore: DAYS(-3), notAfter: DAYS(-2) };
    return [await issueLeaf(authorities, random, "localhost", validity), ["CERTIFICATE_EXPIRED"]];
  },
  "not yet valid": async (_good, random, { authorities }) => {
    const validity = { notBefore: DAYS(2), notAfter: DAYS(3) };
    return [await issueLeaf(authorities, random, "localhost", validity), NOT_YET_VALID];
  },
};

export class Operator {
  readonly #run: SoakRun;
  readonly #state: StateName;
  readonly #sources: Sources;
  readonly #actions: readonly { readonly weight: number; act(random: Random): Promise<void> }[];

  constructor(run: SoakRun, state: StateName, sources: Sources) {
    this.#run = run;
    this.#state = state;
    this.#sources = sources;
    this.#actions = [
      { weight: 6, act: (random) => this.#renew(random, random.pick(NAMES[state])) },
      { weight: 2, act: (random) => this.#err(random) },
      { weight: state === "mutual" ? 1 : 0, act: () => this.#rollBack() },
    ];
  }

  /** One thing that an operator does. */
  async act(random: Random): Promise<void> {
    await random.weighted(this.#actions).act(random);
  }

  get #ledger(): Ledger {
    return this.#run.ledgers.get(this.#state)!;
  }

  async #renew(random: Random, name: string): Promise<void> {
    const began = performance.now();
    const { authorities } = this.#run;
    const files = await nextFiles(this.#state, name, { authorities, ledger: this.#ledger, random });
    const served = Object.values(this.#ledger.latest.served).join();
    await this.#expect(
      (outcome) => outcome.outcome === "swapped" && outcome.served.join() === served,
      () => this.#deliver(files, random),
      "good material was not taken",
    );
    await this.#confirm(began);
    this.#run.count(`swaps ${this.#state}`);
  }

  async #err(random: Random): Promise<void> {
    const [what, mistake] = random.pick(Object.entries(MISTAKES));
    const name = random.pick(NAMES[this.#state]);
    const good = await issueLeaf(this.#run.authorities, random, "localhost");
    const [pair, outcomes] = await mistake(good, random, this.#run);
    const { served, outcome } = await this.#expect(
      ({ outcome }) => outcomes.includes(outcome),
      () => this.#deliver(pairOf(`${this.#state}-${name}`, pair), random),
      `bad material was not rejected as it should: ${what}`,
    );
    if (served.join() !== Object.values(this.#ledger.latest.served).join()) {
      throw new Violation(`bad material serves: ${what}`);
    }
    this.#run.count(`mistakes ${what}: ${outcome}`);
    await delay(random.between(0, 1_000));
    await this.#renew(random, name);
  }

  async #rollBack(): Promise<void> {
    const began = performance.now();
    const { previous } = this.#ledger;
    if (!previous) return;
    this.#ledger.ask(previous);
    // Without free descriptors a swap throws, and nothing has changed.
    await this.#persist(() => this.#run.server.order("roll back").then(() => true, () => false), "no roll back");
    await this.#confirm(began);
    this.#run.count("swaps back to the previous configuration");
  }

  /** A swap at a bad time is late: then the servers themselves are asked. */
  async #confirm(began: number): Promise<void> {
    if (this.#run.excuses.since(began)) {
      for (const target of this.#run.targets) {
        if (target.state !== this.#state) continue;
        await this.#persist(() => servesLatest(this.#run, target), `${target.kind} does not serve a swap`);
      }
    }
    this.#ledger.confirm();
  }

  async #deliver(files: Files, random: Random): Promise<void> {
    if (this.#state === "names" || this.#state === "mutual") await writeFiles(this.#sources.folder, files, random);
    if (this.#state === "names") return;
    if (this.#state === "mutual") return void await this.#run.server.order("reload");
    const [store, port] = [STORES[this.#state], this.#sources.stores[this.#state]!];
    await this.#persist(() => store.put(port, valueOf(files)).then(() => true, () => false), "the store takes nothing");
  }

  /** Delivers material, and returns its outcome. What was read at a bad time is read again. */
  async #expect(matches: (outcome: Outcome) => boolean, deliver: () => Promise<void>, what: string): Promise<Outcome> {
    let [last, found]: (Outcome | undefined)[] = [];
    using _ = this.#run.server.onReload((outcome) => {
      if (outcome.state !== this.#state) return;
      last = outcome;
      if (matches(outcome)) found = outcome;
    });
    await deliver();
    const isFound = async () => {
      if (!found && this.#state === "mutual") await this.#run.server.order("reload");
      return found !== undefined;
    };
    await this.#persist(isFound, () => `${what}, the last outcome is ${JSON.stringify(last)}`);
    return found!;
  }

  async #persist(attempt: () => Promise<boolean>, what: string | (() => string)): Promise<void> {
    await persist(attempt, () => `${this.#state}: ${typeof what === "string" ? what : what()}`);
  }
}

/** Tries until something is done, which must be in time. */
export async function persist(attempt: () => Promise<boolean>, what: () => string): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  while (!await attempt()) {
    if (performance.now() > until) throw new Violation(`${what()}, for ${PATIENCE_MS} ms`);
    await delay(RETRY_MS);
  }
}
