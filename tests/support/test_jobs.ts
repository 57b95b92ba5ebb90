import { spawn } from "node:child_process";
import process from "node:process";
import { type Counts, countsIn, failuresIn } from "./test_output.ts";

/** One process that runs tests: usually one file on one runtime. */
export interface TestJob {
  /** Such as `tests/x509/pem_test.ts`. */
  readonly name: string;
  /** What the report counts it under, such as `bun 1.4.5`. */
  readonly group: string;
  readonly command: readonly [program: string, ...args: string[]];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** How many of the slots it takes: more than 1 if its measurements would suffer beside others, less if it waits. */
  readonly weight: number;
}

/** The outcome of one job. */
export interface JobResult extends Counts {
  readonly job: TestJob;
  readonly ms: number;
  /** What to print about it, or `""` if every test passed. */
  readonly report: string;
}

/** A file that runs longer than this hangs. The slowest takes half a minute on an idle machine. */
const JOB_TIMEOUT_MS = 300_000;
const running = new Set<() => void>();

/** Kills every job that still runs, with the processes that it started. */
export function killJobs(): void {
  for (const kill of running) kill();
}

/**
 * Runs jobs in parallel, in their order, as far as slots are free for them.
 *
 * @param jobs The first is started first.
 * @param slots How much may run at once, in the unit of `weight`.
 * @param onResult Called after each job.
 */
export async function runJobs(
  jobs: readonly TestJob[],
  slots: number,
  onResult: (result: JobResult) => void,
): Promise<JobResult[]> {
  const waiting = [...jobs];
  const results: JobResult[] = [];
  const active = new Set<Promise<void>>();
  let free = slots;
  while (waiting.length > 0 || active.size > 0) {
    const index = waiting.findIndex(({ weight }) => Math.min(weight, slots) <= free);
    const [job] = index < 0 ? [] : waiting.splice(index, 1);
    if (!job) {
      await Promise.race(active);
      continue;
    }
    const weight = Math.min(job.weight, slots);
    free -= weight;
    const ended = runJob(job).then((result) => {
      free += weight;
      active.delete(ended);
      results.push(result);
      onResult(result);
    });
    active.add(ended);
  }
  return results;
}

async function runJob(job: TestJob): Promise<JobResult> {
  const start = performance.now();
  const { code, signal, isHanging, output } = await run(job, JOB_TIMEOUT_MS);
  const counts = countsIn(output);
  const { passed, failed, skipped } = counts;
  const isOk = code === 0 && failed === 0 && passed + skipped > 0;
  const ms = performance.now() - start;
  if (isOk) return { ...counts, job, ms, report: "" };
  // A test that fails leaves its servers open, which keep a process of Node running.
  const headline = isHanging
    ? `${failed} failed, then it hung: killed after ${JOB_TIMEOUT_MS / 1000} s, the output shows which tests had ended`
    : failed > 0
    ? `${failed} failed`
    : code === 0
    ? "has no tests"
    : `ended with ${signal ?? `exit code ${code}`}`;
  const report = `\n── ${job.name} on ${job.group}: ${headline}\n${isHanging ? output : failuresIn(output)}\n`;
  // A runner that crashes, hangs, or finds nothing to run has failed, even if it counted no failure.
  return { ...counts, failed: Math.max(failed, 1), job, ms, report };
}

/** Runs the command of a job, and kills whatever it leaves behind. */
export async function run(
  { command: [program, ...args], cwd, env = {} }: Pick<TestJob, "command" | "cwd" | "env">,
  timeoutMs: number,
): Promise<{ code: number | null; signal: string | null; isHanging: boolean; output: string }> {
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true, // leads a process group, so that its children can be killed with it
  });
  const kill = () => {
    try {
      if (process.platform === "win32") child.kill("SIGKILL");
      else process.kill(-child.pid!, "SIGKILL");
    } catch {
      // The group is empty.
    }
  };
  running.add(kill);
  let output = "";
  let isHanging = false;
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => output += text);
  const timer = setTimeout(() => {
    isHanging = true;
    kill();
  }, timeoutMs);
  child.once("exit", kill);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve([code, signal]));
  });
  clearTimeout(timer);
  running.delete(kill);
  return { code, signal, isHanging, output };
}
