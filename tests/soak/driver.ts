// Soaks the servers of one runtime: starts their process, loads it, and stops at the first invariant that does not
// hold. Runs on Node whatever the servers run on, so that whatever goes wrong between two of them is not the client's.
// Started by soak.ts.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { issueAuthorities } from "./authorities.ts";
import { Clients } from "./clients.ts";
import { nextFiles, writeFiles } from "./files.ts";
import { Ledger } from "./ledger.ts";
import { Operator } from "./operator.ts";
import { attack } from "./peers.ts";
import { Random } from "./random.ts";
import { ServerProcess } from "./server_process.ts";
import { SoakRun, Violation } from "./soak_run.ts";

/** What a driver is told. */
export interface DriverOptions {
  /** The program and what stands before the file. */
  readonly command: readonly string[];
  readonly minutes: number;
  readonly seed: string;
  readonly exhaustsDescriptors: boolean;
}

/** What the server process held at some time. */
export interface Sample {
  readonly heapBytes: number;
  readonly rssBytes: number;
  readonly descriptors: number;
  readonly generations: number;
}

/** What a driver says, a line of JSON each. */
export type DriverReport =
  | { readonly progress: Readonly<Record<string, number>> }
  | { readonly violation: string }
  | { readonly summary: Summary };

/** What a soak came to. */
export interface Summary {
  readonly counts: Readonly<Record<string, number>>;
  readonly samples: readonly Sample[];
  readonly serverCpuSeconds: number;
  readonly driverCpuSeconds: number;
}

const CLIENTS = 16;
const ATTACKERS = 2;
const SAMPLE_EVERY_MS = 10_000;
const SETTLE_MS = 30_000;
/** What a runtime opens once and keeps. */
const SPARE_DESCRIPTORS = 20;
const MOST_DESCRIPTORS = 800;
const MIB = 1 << 20;

const options = JSON.parse(process.argv[2]!) as DriverOptions;
const say = (report: DriverReport) => void process.stdout.write(`${JSON.stringify(report)}\n`);
const random = new Random(options.seed);
const folder = await mkdtemp(join(tmpdir(), "tls-reload-soak-"));

/** Where each loop is, for whoever wants to find the place of a violation. */
const steps = new Map<string, number>();

async function loop(
  name: string,
  end: number,
  [least, most]: [number, number],
  step: (random: Random) => Promise<void>,
) {
  const own = random.fork(name);
  for (let count = 1; performance.now() < end; count++) {
    steps.set(name, count);
    try {
      await step(own.fork(String(count)));
    } catch (error) {
      throw new Error(`${name}, step ${count}`, { cause: error });
    }
    await delay(own.between(least, most));
  }
}

async function soak(): Promise<Summary> {
  const run = await start();
  process.once("exit", () => run.server.kill());
  const samples: Sample[] = [];
  const sample = async () => {
    const descriptors = await run.server.descriptors();
    const measure = await run.server.measure();
    if (measure) samples.push({ ...measure, descriptors });
    if (descriptors > MOST_DESCRIPTORS) throw new Violation(`too many file descriptors: ${descriptors}`);
  };
  await sample();
  const clients = new Clients(run);
  const operator = new Operator(run, options);
  const end = performance.now() + options.minutes * 60_000;
  const times = (count: number, name: string, pause: [number, number], step: (random: Random) => Promise<void>) =>
    Array.from({ length: count }, (_, index) => loop(`${name} ${index + 1}`, end, pause, step));
  await Promise.race([
    run.server.failed,
    Promise.all([
      ...times(CLIENTS, "client", [0, 200], (random) => clients.visit(random)),
      ...times(ATTACKERS, "attacker", [100, 1_000], (random) => attack(run, random)),
      ...times(1, "operator", [50, 1_000], (random) => operator.act(random)),
      ...times(1, "observer", [SAMPLE_EVERY_MS, SAMPLE_EVERY_MS], async () => {
        await sample();
        say({ progress: { ...totals(run), ...samples.at(-1)! } });
      }),
    ]),
  ]);
  await settle(run, samples[0]!);
  await sample();
  requireBoundedMemory(samples);
  const serverCpuSeconds = await run.server.cpuSeconds();
  await run.server.stop();
  const { user, system } = process.cpuUsage();
  return {
    counts: Object.fromEntries([...run.counts].sort()),
    samples,
    serverCpuSeconds,
    driverCpuSeconds: (user + system) / 1e6,
  };
}

/** Writes the first files, and starts the servers with them. */
async function start(): Promise<SoakRun> {
  const authorities = await issueAuthorities();
  const ledgers = { open: new Ledger(), mutual: new Ledger() };
  for (const state of ["open", "mutual"] as const) {
    const { files } = await nextFiles(state, { authorities, ledger: ledgers[state], random });
    await writeFiles(folder, state, files, random);
  }
  const server = await ServerProcess.start(options.command, folder);
  for (const ledger of Object.values(ledgers)) ledger.confirm();
  return new SoakRun({ authorities, ledgers, folder, server, targets: await server.targets });
}

/** All connections have ended: what the server holds must be what it held before the first one. */
async function settle({ server }: SoakRun, first: Sample): Promise<void> {
  const until = performance.now() + SETTLE_MS;
  for (;;) {
    const [descriptors, measure] = await Promise.all([server.descriptors(), server.measure()]);
    const generations = measure?.generations;
    if (descriptors <= first.descriptors + SPARE_DESCRIPTORS && generations === 1) return;
    if (performance.now() > until) {
      throw new Violation(
        `something is left when all is over: ${descriptors} file descriptors, ${first.descriptors} at the start; ` +
          `${generations} generations`,
      );
    }
    await delay(200);
  }
}

/** Compares the two halves of the time after a warm-up; generous, as the halves are no more alike than their choices. */
function requireBoundedMemory(samples: readonly Sample[]): void {
  const steady = samples.slice(Math.ceil(samples.length / 5));
  if (steady.length < 20) return;
  const median = (half: readonly Sample[], key: keyof Sample) =>
    half.map((each) => each[key]).sort((a, b) => a - b)[Math.floor(half.length / 2)]!;
  const [early, late] = [steady.slice(0, steady.length / 2), steady.slice(steady.length / 2)];
  for (
    const [key, ratio, slack] of [["heapBytes", 1.25, 16 * MIB], ["rssBytes", 1.25, 64 * MIB], [
      "descriptors",
      1.5,
      50,
    ]] as const
  ) {
    const [before, after] = [median(early, key), median(late, key)];
    if (after > before * ratio + slack) throw new Violation(`${key} grows: median ${before}, later ${after}`);
  }
}

function totals({ counts }: SoakRun): { requests: number; swaps: number } {
  const sum = (prefix: string) =>
    [...counts].reduce((total, [name, count]) => total + (name.startsWith(prefix) ? count : 0), 0);
  return { requests: sum("request "), swaps: sum("swaps ") };
}

function causes(error: unknown): string {
  const lines: string[] = [];
  for (let cause = error; cause !== undefined; cause = (cause as Error).cause) {
    lines.push(cause instanceof Violation ? cause.message : cause instanceof Error ? cause.stack! : String(cause));
  }
  return lines.join("\ncaused by ");
}

try {
  say({ summary: await soak() });
} catch (error) {
  say({ violation: `seed ${options.seed}, ${causes(error)}\nall loops: ${JSON.stringify(Object.fromEntries(steps))}` });
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.exit();
