// Soaks the servers of one runtime: starts their process, loads and disturbs it, and stops at the first invariant that
// does not hold. Runs on Node whatever the servers run on, so that an error is not the client's. Started by soak.ts.
import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { Engine, missing } from "../support/engines.ts";
import { STORES } from "../support/stores.ts";
import { issueAuthorities } from "./authorities.ts";
import { Clients, servesLatest } from "./clients.ts";
import { type Disturbance, disturbancesOf, Place } from "./disturbances.ts";
import { Ledger } from "./ledger.ts";
import { nextFiles, valueOf, writeFiles } from "./material.ts";
import { Operator, persist } from "./operator.ts";
import { attack } from "./peers.ts";
import { Random } from "./random.ts";
import { requireFlat, type Sample, sampleOf, settle } from "./samples.ts";
import type { Target } from "./server.ts";
import { type ServerError, ServerProcess } from "./server_process.ts";
import { SoakRun, Violation } from "./soak_run.ts";
import { NAMES, type Sources, type StateName, type StoreName } from "./states.ts";

/** What a driver is told. */
export interface DriverOptions {
  /** The program and its arguments before the file. */
  readonly command: readonly string[];
  /** When it begins and ends, in milliseconds of the whole soak. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly seed: string;
  readonly clients: number;
  /** Disturbances that the runtime does not survive, and why. */
  readonly skips: Readonly<Record<string, string>>;
}

/** A disturbance as it was. */
export interface Disturbed {
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** What a driver says, a line of JSON each. Numbers and disturbances are those since its last line. */
export interface DriverReport {
  readonly counts: Readonly<Record<string, number>>;
  readonly disturbed: readonly Disturbed[];
  readonly samples: readonly Sample[];
  readonly skipped: readonly string[];
  readonly violation?: string;
}

const ATTACKERS = 2;
const REPORT_EVERY_MS = 10_000;
/** How long after a disturbance its errors may come. */
const ERROR_MS = 2_000;
/** Each disturbance happens so often, for so long. */
const CALM_MS = [5_000, 40_000] as const;
const DISTURBED_MS = [300, 3_000] as const;

const options = JSON.parse(process.argv[2]!) as DriverOptions;
let began = performance.now(); // set again once the servers have started
const nowMs = () => Math.round(options.fromMs + performance.now() - began);
const random = new Random(`${options.seed}/${options.fromMs}`);
const folder = await mkdtemp(join(tmpdir(), "tls-reload-soak-"));
await mkdir(join(folder, "files"));
const place = new Place(folder);
const engines: Partial<Record<StoreName, Engine>> = {};

/** Where each loop is, to find the place of a violation. */
const steps = new Map<string, number>();
const disturbed: Disturbed[] = [];
const samples: Sample[] = [];
const skipped: string[] = [];
let reported = 0;

function report(run?: SoakRun, violation?: string): void {
  const line: DriverReport = {
    counts: run?.takeCounts() ?? {},
    disturbed: disturbed.splice(0),
    samples: samples.slice(reported),
    skipped: skipped.splice(0),
    ...(violation && { violation }),
  };
  reported = samples.length;
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

type Pause = readonly [least: number, most: number];
type Step = (random: Random) => Promise<void>;

async function loop(name: string, [least, most]: Pause, step: Step): Promise<void> {
  const own = random.fork(name);
  for (let count = 1; nowMs() < options.toMs; count++) {
    steps.set(name, count);
    try {
      await step(own.fork(String(count)));
    } catch (error) {
      throw new Error(`${name}, step ${count}`, { cause: error });
    }
    await delay(Math.min(own.between(least, most), Math.max(0, options.toMs - nowMs())));
  }
}

function loops(count: number, name: string, pause: Pause, step: Step): Promise<void>[] {
  return Array.from({ length: count }, (_, index) => loop(`${name} ${index + 1}`, pause, step));
}

async function soak(run: SoakRun, sources: Sources): Promise<void> {
  const failed = Promise.withResolvers<never>();
  run.server.excuse = (error) => {
    const isLate = isLateStart(run, error);
    if (isLate) {
      run.late.during(() => recover(run, run.targets.filter(({ state }) => state === error.state), "a late start"))
        .catch(failed.reject);
    }
    return isLate;
  };
  const surroundings = { server: run.server, engines: engines as Record<string, Engine>, place };
  const disturbances = disturbancesOf(surroundings).map((each) => ({
    ...each,
    skip: options.skips[each.name] ?? each.skip,
  }));
  skipped.push(...disturbances.flatMap(({ name, skip }) => skip ? [`${name}: ${skip}`] : []));
  await sample(run);
  const clients = new Clients(run);
  const operators = [...run.ledgers.keys()].map((state) => [state, new Operator(run, state, sources)] as const);
  await Promise.race([
    run.server.failed,
    failed.promise,
    Promise.all([
      ...loops(options.clients, "client", [0, 200], (random) => clients.visit(random)),
      ...loops(ATTACKERS, "attacker", [100, 1_000], (random) => attack(run, random)),
      ...operators.map(([state, operator]) => loop(`operator of ${state}`, [200, 2_000], (own) => operator.act(own))),
      ...disturbances.filter(({ skip }) => !skip).map((each) =>
        loop(each.name, CALM_MS, (own) => disturb(run, each, own))
      ),
      loop("observer", [REPORT_EVERY_MS, REPORT_EVERY_MS], async () => {
        await sample(run);
        report(run);
      }),
    ]),
  ]);
  await settle(run.server, samples[0]!);
  await sample(run);
  requireFlat(samples);
  await run.server.close();
  await run.server.end();
}

/** Disturbs after a pause, and waits until the server has recovered. */
async function disturb(run: SoakRun, disturbance: Disturbance, random: Random): Promise<void> {
  await delay(Math.min(random.between(0, CALM_MS[0]), Math.max(0, options.toMs - nowMs())));
  const body = async () => {
    const fromMs = nowMs();
    await disturbance.begin(random);
    await delay(random.between(...DISTURBED_MS));
    await disturbance.end();
    disturbed.push({ name: disturbance.name, fromMs, toMs: nowMs() });
    run.count(`disturbance ${disturbance.name}`);
    if (!disturbance.excuses) return;
    await recover(run, run.targets, disturbance.name);
  };
  await (disturbance.excuses ? run.excuses.during(body) : body());
}

/** Waits until servers serve what they must. */
async function recover(run: SoakRun, targets: readonly Target[], from: string): Promise<void> {
  for (const target of targets) {
    await persist(
      () => servesLatest(run, target),
      () => `${target.kind} (${target.state}) has not recovered from ${from}`,
    );
  }
}

/** A new native server may take too long on a busy machine, and cannot start without descriptors. */
function isLateStart({ excuses }: SoakRun, { code = "", error }: ServerError): boolean {
  const isShort = ["EMFILE", "UNSUPPORTED", "CONFIG_UNUSABLE"].includes(code) || error.includes("Too many open files");
  return error.includes("its server takes more than") || isShort && excuses.since(performance.now() - ERROR_MS);
}

/** Starts the stores, fills them and the folder, and starts the servers. */
async function start(): Promise<readonly [SoakRun, Sources]> {
  const authorities = await issueAuthorities();
  const ledgers = new Map<StateName, Ledger>();
  const stores: Partial<Record<StoreName, number>> = {};
  for (const state of Object.keys(NAMES) as StateName[]) {
    const ledger = new Ledger();
    const next = (name: string) => nextFiles(state, name, { authorities, ledger, random });
    if (state === "names" || state === "mutual") {
      for (const name of NAMES[state]) await writeFiles(place.files, await next(name), random);
    } else {
      const { command, args, put } = STORES[state];
      const reason = missing(command);
      if (reason) skipped.push(`${state}: ${reason}`);
      if (reason) continue;
      const engine = engines[state] = await Engine.start(command, args);
      const value = valueOf(await next("localhost"));
      await persist(() => put(engine.port, value).then(() => true, () => false), () => `${state} does not start`);
      stores[state] = engine.port;
    }
    ledgers.set(state, ledger);
  }
  await place.stepClock(0);
  const sources = { folder: place.files, stores };
  const server = await ServerProcess.start({ ...place.launch(options.command), sources });
  process.once("exit", () => server.kill());
  for (const ledger of ledgers.values()) ledger.confirm();
  const targets = await server.targets;
  return [new SoakRun({ authorities, ledgers, server, targets }), sources];
}

async function sample({ server }: SoakRun): Promise<void> {
  const taken = await sampleOf(server, nowMs());
  if (taken) samples.push(taken);
}

function causes(error: unknown): string {
  const lines: string[] = [];
  for (let cause = error; cause; cause = (cause as Error).cause) {
    lines.push(cause instanceof Violation ? cause.message : cause instanceof Error ? cause.stack! : String(cause));
  }
  return lines.join("\ncaused by ");
}

// The driver ends with the soak, and its server with it.
process.stdout.once("error", () => process.exit(1));
process.once("SIGTERM", () => process.exit(1));
process.once("exit", () => {
  for (const engine of Object.values(engines)) engine.kill();
});

let run: SoakRun | undefined;
try {
  const [started, sources] = await start();
  run = started;
  began = performance.now();
  await soak(run, sources);
  report(run);
} catch (error) {
  report(run, `${causes(error)}\nall loops: ${JSON.stringify(Object.fromEntries(steps))}`);
  process.exitCode = 1;
} finally {
  run?.server.kill();
  for (const engine of Object.values(engines)) await engine[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
}
process.exit();
