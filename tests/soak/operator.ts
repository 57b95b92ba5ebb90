// Whoever runs the server: renews, rolls back, makes mistakes, sets the clock, and lets file descriptors run out.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HttpConnection } from "../support/http.ts";
import { type Issued, issueServer } from "../support/certificates.ts";
import { DAYS, issueLeaf } from "./authorities.ts";
import { type Files, nextFiles, writeFiles } from "./files.ts";
import type { Random } from "./random.ts";
import type { Outcome, StateName } from "./server.ts";
import { type SoakRun, Violation } from "./soak_run.ts";

const PATIENCE_MS = 20_000;
/** About what a server holds when little goes on. */
const MOST_DESCRIPTORS = 50;
const HOUR_MS = 3_600_000;

/** Content of files that must not be served, and the codes that say why. */
type Mistake = (good: Issued, random: Random, run: SoakRun) => Mistaken | Promise<Mistaken>;
type Mistaken = [files: Files, codes: readonly string[]];

const MISTAKES: Readonly<Record<string, Mistake>> = {
  "garbage": ({ key }, random) => [{ crt: random.bytes(2_000), key }, ["PEM_INVALID", "NO_CERTIFICATE"]],
  "empty file": ({ key }) => [{ crt: "", key }, ["NO_CERTIFICATE"]],
  "half written": ({ cert, key }, random) => {
    const end = cert.indexOf("-----END");
    return [{ crt: cert.slice(0, random.between(30, end)), key }, ["PEM_INVALID"]];
  },
  "key cut": ({ cert, key }) => [{ crt: cert, key: key.slice(0, key.length / 2) }, ["PEM_INVALID"]],
  "key of another": async ({ cert }) => [{ crt: cert, key: (await issueServer("other")).key }, ["KEY_MISMATCH"]],
  "chain turned round": async (_good, _random, { authorities: { intermediate } }) => {
    const { cert, key } = await issueServer("turned", { issuer: intermediate });
    return [{ crt: cert.split(/(?<=END CERTIFICATE-----\n)/).toReversed().join(""), key }, ["KEY_MISMATCH"]];
  },
  "expired": async (_good, random, { authorities }) => {
    const { cert, key } = await issueLeaf(authorities, random, { notBefore: DAYS(-3), notAfter: DAYS(-2) });
    return [{ crt: cert, key }, ["CERTIFICATE_EXPIRED"]];
  },
  "not yet valid": async (_good, random, { authorities }) => {
    const { cert, key } = await issueLeaf(authorities, random, { notBefore: DAYS(2), notAfter: DAYS(3) });
    return [{ crt: cert, key }, ["CERTIFICATE_NOT_YET_VALID"]];
  },
};

export class Operator {
  readonly #run: SoakRun;
  readonly #actions: readonly { readonly weight: number; act(random: Random): Promise<void> }[];

  constructor(run: SoakRun, options: { readonly exhaustsDescriptors: boolean }) {
    this.#run = run;
    this.#actions = [
      { weight: 30, act: (random) => this.#renewOpen(random) },
      { weight: 30, act: (random) => this.#renewMutual(random) },
      { weight: 10, act: () => this.#rollBack() },
      { weight: 10, act: (random) => this.#mistakeOpen(random) },
      { weight: 10, act: (random) => this.#mistakeMutual(random) },
      { weight: 6, act: (random) => this.#setClock(random) },
      { weight: 2, act: (random) => this.#outlive(random) },
      { weight: options.exhaustsDescriptors ? 4 : 0, act: (random) => this.#exhaustDescriptors(random) },
    ];
  }

  /** One thing that an operator does. */
  async act(random: Random): Promise<void> {
    await random.weighted(this.#actions).act(random);
  }

  async #renewOpen(random: Random, validity = {}): Promise<void> {
    const { issued, files } = await this.#next("open", random, validity);
    await this.#expectReload(
      ({ outcome, fingerprint256 }) => outcome === "swapped" && fingerprint256 === issued.fingerprint256,
      () => this.#write("open", files, random),
      "good files were not taken",
    );
    this.#run.ledgers.open.confirm();
    this.#run.count("swaps by watched files");
  }

  async #renewMutual(random: Random): Promise<void> {
    const { issued, files } = await this.#next("mutual", random);
    await this.#write("mutual", files, random);
    const outcome = await this.#run.server.order({ do: "reload" }) as Outcome;
    if (outcome.outcome !== "swapped" || outcome.fingerprint256 !== issued.fingerprint256) {
      throw new Violation(`good files were not taken: ${JSON.stringify(outcome)}`);
    }
    this.#run.ledgers.mutual.confirm();
    this.#run.count("swaps by reload()");
  }

  async #rollBack(): Promise<void> {
    const ledger = this.#run.ledgers.mutual;
    const before = ledger.previous;
    if (!before) return;
    ledger.ask(before);
    await this.#run.server.order({ do: "roll back" });
    ledger.confirm();
    this.#run.count("swaps back to the previous configuration");
  }

  async #mistakeOpen(random: Random): Promise<void> {
    const { name, files, codes } = await this.#mistake(random);
    const { fingerprint256, code } = await this.#expectReload(
      ({ outcome, code }) => outcome === "rejected" && codes.includes(code ?? ""),
      () => this.#write("open", files, random),
      `bad files were not rejected as they should: ${name}`,
    );
    if (fingerprint256 !== this.#run.ledgers.open.latest.fingerprint256) {
      throw new Violation(`bad files serve: ${name}`);
    }
    this.#run.count(`bad files ${name}: ${code}`);
    await delay(random.between(0, 1_000));
    await this.#renewOpen(random);
  }

  async #mistakeMutual(random: Random): Promise<void> {
    const { name, files, codes } = await this.#mistake(random);
    await this.#write("mutual", files, random);
    if (random.chance(0.2)) {
      await rm(join(this.#run.folder, "mutual.key"));
      codes.push("FILE_NOT_FOUND");
    }
    const { outcome, code, fingerprint256 } = await this.#run.server.order({ do: "reload" }) as Outcome;
    const isSame = fingerprint256 === this.#run.ledgers.mutual.latest.fingerprint256;
    if (outcome !== "rejected" || !codes.includes(code ?? "") || !isSame) {
      throw new Violation(`bad files were not rejected as they should: ${name}: ${outcome} ${code}`);
    }
    this.#run.count(`bad files ${name}: ${code}`);
  }

  async #mistake(random: Random): Promise<{ name: string; files: Files; codes: string[] }> {
    const [name, mistake] = random.pick(Object.entries(MISTAKES));
    const good = await issueLeaf(this.#run.authorities, random);
    const [files, codes] = await mistake(good, random, this.#run);
    return { name, files, codes: [...codes] };
  }

  async #setClock(random: Random): Promise<void> {
    await this.#run.server.order({ do: "clock", offsetMs: random.between(-12 * HOUR_MS, 12 * HOUR_MS) });
    this.#run.count("clock jumps");
  }

  /** What is served expires by the server's clock, and is renewed afterwards. */
  async #outlive(random: Random): Promise<void> {
    const { server } = this.#run;
    await server.order({ do: "clock", offsetMs: 0 });
    await this.#renewOpen(random, { notAfter: new Date(Date.now() + 10 * HOUR_MS) });
    await server.order({ do: "clock", offsetMs: 12 * HOUR_MS });
    await delay(random.between(500, 2_000));
    await this.#renewOpen(random);
    this.#run.count("certificates outlived");
  }

  async #exhaustDescriptors(random: Random): Promise<void> {
    await this.#run.withoutDescriptors(async () => {
      await this.#run.server.exhaustDescriptors(random.between(1, MOST_DESCRIPTORS), random.between(500, 3_000));
      const until = performance.now() + PATIENCE_MS;
      for (const { kind, state, port, speaks } of this.#run.targets) {
        if (state !== "open" || !speaks.includes("http1")) continue;
        while (!await isServed(port)) {
          if (performance.now() > until) {
            throw new Violation(`accepts nothing any more after it had no file descriptors: ${kind}`);
          }
          await delay(100);
        }
      }
    });
    this.#run.count("times without file descriptors");
  }

  #next(state: StateName, random: Random, validity = {}): ReturnType<typeof nextFiles> {
    const { authorities, ledgers } = this.#run;
    return nextFiles(state, { authorities, ledger: ledgers[state], random }, validity);
  }

  #write(state: StateName, files: Files, random: Random): Promise<void> {
    return writeFiles(this.#run.folder, state, files, random);
  }

  async #expectReload(
    matches: (outcome: Outcome) => boolean,
    cause: () => Promise<void>,
    what: string,
  ): Promise<Outcome> {
    let last: Outcome | undefined;
    const next = this.#run.server.nextReload((outcome) => matches(last = outcome), PATIENCE_MS);
    await cause();
    const outcome = await next;
    if (!outcome) throw new Violation(`${what} within ${PATIENCE_MS} ms: ${JSON.stringify(last)}`);
    return outcome;
  }
}

async function isServed(port: number): Promise<boolean> {
  const late = new AbortController();
  const connection = HttpConnection.open(port).then(async (connection) => {
    const { status } = await connection.ask("/content?seed=x&length=1").finally(() => connection.close());
    return status === 200;
  });
  const { signal } = late;
  return await Promise.race([connection, delay(2_000, false, { signal })]).catch(() => false).finally(() =>
    late.abort()
  );
}
