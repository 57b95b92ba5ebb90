// Rolls a fleet over from one client authority to another, while its clients go on.
import { connect } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { issueCa, issueClient, type Issued } from "../../tests/support/certificates.ts";
import type { Fleet, Member, Sample } from "../../tests/support/fleet.ts";

/** Each client belongs to one process. */
const CLIENTS_PER_MEMBER = 4;
/** A client stays connected, and pauses, for a random time up to these. */
const [MAX_STAY_MS, MAX_PAUSE_MS] = [1_500, 300];
/** Each client renews its certificate at its own random time within this. */
const RENEWALS_MS = 6_000;
/** An authority is out of use once no client has used it for so long: longer than a client stays away. */
const QUIET_MS = 2_000;
const LOOK_EVERY_MS = 100;
/** How long clients go on with the first configuration, and with the last one. */
const STEADY_MS = 1_000;
const LIMIT_MS = 60_000;

/** A client authority, with a certificate that it has issued to a client. */
export interface Authority {
  readonly ca: Issued;
  readonly client: Issued;
}

export async function issueAuthority(name: string): Promise<Authority> {
  const ca = await issueCa(name);
  return { ca, client: await issueClient("client", { issuer: ca }) };
}

/** What the metrics of one process said at one time. */
export interface Look {
  readonly member: string;
  /** Milliseconds since the roll-over began. */
  readonly atMs: number;
  readonly trustDigest: string;
  /** The fingerprints of the authorities that it trusts. */
  readonly trusts: readonly string[];
  /** The open connections of each authority, by its fingerprint. */
  readonly connections: ReadonlyMap<string, number>;
  /** How long ago a client has used each authority. */
  readonly unusedMs: ReadonlyMap<string, number>;
}

/** What a roll-over has cost, and how it went. */
export interface RollOver {
  readonly looks: readonly Look[];
  /** The steps of the operator. */
  readonly steps: readonly { readonly atMs: number; readonly name: string }[];
  readonly visits: number;
  /** Connections of clients that followed the plan, and were refused or cut. */
  readonly refused: number;
  /** Processes that refuse a client of the old authority in the end. */
  readonly closed: number;
}

/** Puts a configuration of the fleet that trusts these authorities. */
export type PutTrust = (authorities: readonly Authority[]) => Promise<void>;

/** Clients that come and go, first all with a certificate of the old authority. */
class Clients {
  visits = 0;
  refused = 0;
  readonly #authorities: Authority[];
  readonly #running: Promise<unknown>;
  #isOver = false;

  constructor({ members }: Fleet, authority: Authority) {
    const homes = Array.from({ length: members.length * CLIENTS_PER_MEMBER }, (_, index) => {
      return members[index % members.length]!;
    });
    this.#authorities = homes.map(() => authority);
    this.#running = Promise.all(homes.map((home, index) => this.#live(home, index)));
  }

  /** Gives each client a certificate of another authority, at its own time. */
  async renew(authority: Authority): Promise<void> {
    await Promise.all(this.#authorities.map(async (_, index) => {
      await delay(Math.random() * RENEWALS_MS);
      this.#authorities[index] = authority;
    }));
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #live({ port }: Member, index: number): Promise<void> {
    while (!this.#isOver) {
      this.visits++;
      if (!await visit(port, this.#authorities[index]!, Math.random() * MAX_STAY_MS)) this.refused++;
      await delay(Math.random() * MAX_PAUSE_MS);
    }
  }
}

/** Connects and stays. Returns whether it was let in, and not disconnected. */
async function visit(port: number, { client: { cert, key } }: Authority, stayMs: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, cert, key }).on("error", () => {});
  const ended = new Promise<false>((resolve) => socket.once("close", () => resolve(false)));
  const greeted = new Promise<true>((resolve) => socket.once("data", () => resolve(true)));
  const isGood = await Promise.race([greeted, ended]) && await Promise.race([delay(stayMs, true), ended]);
  socket.destroy();
  return isGood;
}

/** A fleet that is rolled over: what its metrics have said, and what was done about it. */
class Operator {
  readonly looks: Look[] = [];
  readonly steps: { atMs: number; name: string }[] = [];
  readonly #fleet: Fleet;
  readonly #began = performance.now();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  note(name: string): void {
    this.steps.push({ atMs: performance.now() - this.#began, name });
  }

  /** Looks at the metrics of all processes until they hold. */
  async waitUntil(what: string, holds: (looks: readonly Look[]) => boolean): Promise<void> {
    for (const end = performance.now() + LIMIT_MS; performance.now() < end; await delay(LOOK_EVERY_MS)) {
      const looks = await Promise.all(this.#fleet.members.map((member) => this.#look(member)));
      this.looks.push(...looks);
      if (holds(looks)) return this.note(what);
    }
    throw new Error(`Cannot roll over: not within ${LIMIT_MS} ms: ${what}`);
  }

  /** Looks at the metrics for some time. */
  async watch(ms: number): Promise<void> {
    const end = performance.now() + ms;
    await this.waitUntil("watched", () => performance.now() > end);
  }

  /** Waits until all processes trust the same, and not what they trusted before. */
  async waitForTrust(what: string): Promise<void> {
    const before = this.looks.at(-1)?.trustDigest;
    await this.waitUntil(what, ([first, ...others]) => {
      return first!.trustDigest !== before && others.every(({ trustDigest }) => trustDigest === first!.trustDigest);
    });
  }

  async #look(member: Member): Promise<Look> {
    const samples = await member.metrics();
    const now = Date.now();
    const ofAuthorities = (name: string, valueOf: (sample: Sample) => number) =>
      new Map(
        samples.filter((sample) => sample.name === `tls_reload_${name}`)
          .map((sample) => [sample.labels["fingerprint256"]!, valueOf(sample)]),
      );
    return {
      member: member.name,
      atMs: performance.now() - this.#began,
      trustDigest: samples.find(({ name }) => name === "tls_reload_config_info")!.labels["trust_digest"]!,
      trusts: samples.filter(({ labels }) => labels["role"] === "client authority")
        .map(({ labels }) => labels["fingerprint256"]!),
      connections: ofAuthorities("authority_connections", ({ value }) => value),
      unusedMs: ofAuthorities("authority_used_timestamp_seconds", ({ value }) => now - value * 1_000),
    };
  }
}

/**
 * Rolls over in two steps: adds the next authority, and removes the old one once the metrics of all processes say that
 * it is out of use. In one step: replaces the one by the other, and lets clients renew meanwhile.
 */
export async function rollOver(
  fleet: Fleet,
  put: PutTrust,
  [old, next]: readonly [Authority, Authority],
  hasTwoSteps: boolean,
): Promise<RollOver> {
  const clients = new Clients(fleet, old);
  // The first reading takes longer, because nothing is warm.
  await Promise.all(fleet.members.map((member) => member.metrics()));
  const operator = new Operator(fleet);
  await operator.waitForTrust("all trust the old authority");
  await operator.watch(STEADY_MS);
  if (hasTwoSteps) {
    operator.note("both are put");
    await put([old, next]);
    await operator.waitForTrust("all trust both");
  }
  const renewed = clients.renew(next);
  if (hasTwoSteps) {
    const { fingerprint256 } = old.ca;
    const isOutOfUse = ({ connections, unusedMs }: Look) =>
      connections.get(fingerprint256) === 0 && (unusedMs.get(fingerprint256) ?? Infinity) > QUIET_MS;
    await operator.waitUntil("the old one is out of use", (looks) => looks.every(isOutOfUse));
  }
  operator.note("the next one is put");
  await put([next]);
  await operator.waitForTrust("all trust the next one alone");
  await renewed;
  await operator.watch(STEADY_MS);
  await clients.end();
  const outcomes = await Promise.all(fleet.members.map(({ port }) => visit(port, old, 0)));
  return {
    looks: operator.looks,
    steps: operator.steps,
    visits: clients.visits,
    refused: clients.refused,
    closed: outcomes.filter((isIn) => !isIn).length,
  };
}
