import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Measure, Order, Outcome, Report, Target } from "./server.ts";

const SERVER = fileURLToPath(new URL("server.ts", import.meta.url));
const STOP_MS = 20_000;
const run = promisify(execFile);

/** The server process as its driver sees it. */
export class ServerProcess {
  readonly #child: ReturnType<typeof ServerProcess.spawn>;
  readonly #answers: ((answer: unknown) => void)[] = [];
  readonly #reloads = new Set<(outcome: Outcome) => void>();
  readonly #failed = Promise.withResolvers<never>();
  #targets = Promise.withResolvers<readonly Target[]>();
  #isStopping = false;

  private constructor(command: readonly string[], folder: string) {
    this.#child = ServerProcess.spawn(command, folder);
    this.#child.once("close", (code, signal) => {
      if (!this.#isStopping) this.#failed.reject(new Error(`the server process has ended: ${code ?? signal}`));
    });
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hear(JSON.parse(line)));
    this.#failed.promise.catch(() => {});
  }

  static spawn([program = "", ...args]: readonly string[], folder: string) {
    return spawn(program, [...args, SERVER, folder], { stdio: ["pipe", "pipe", "inherit"] });
  }

  /** Starts the process, and resolves when all of its servers listen. */
  static async start(command: readonly string[], folder: string): Promise<ServerProcess> {
    const server = new ServerProcess(command, folder);
    await Promise.race([server.#targets.promise, server.failed]);
    return server;
  }

  /** Never resolves; rejects when the process dies, or says that something is wrong in it. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  get targets(): Promise<readonly Target[]> {
    return this.#targets.promise;
  }

  /** Gives an order, and resolves when it has been obeyed. */
  async order(order: Order): Promise<unknown> {
    const answer = new Promise((resolve) => this.#answers.push(resolve));
    this.#child.stdin.write(`${JSON.stringify(order)}\n`);
    return await answer;
  }

  /** What it holds now, if it can tell. */
  async measure(): Promise<Measure | null> {
    return await this.order({ do: "measure" }) as Measure | null;
  }

  /** The next reload that the watched files lead to and that matches, or `undefined` if there is none in time. */
  async nextReload(matches: (outcome: Outcome) => boolean, timeoutMs: number): Promise<Outcome | undefined> {
    const { promise, resolve } = Promise.withResolvers<Outcome | undefined>();
    const listener = (outcome: Outcome) => matches(outcome) && resolve(outcome);
    this.#reloads.add(listener);
    const timer = setTimeout(() => resolve(undefined), timeoutMs);
    return await promise.finally(() => {
      clearTimeout(timer);
      this.#reloads.delete(listener);
    });
  }

  /** How many file descriptors are open. */
  async descriptors(): Promise<number> {
    return (await readdir(`/proc/${this.#child.pid}/fd`)).length;
  }

  /** Processor seconds, of user and system. */
  async cpuSeconds(): Promise<number> {
    const fields = (await readFile(`/proc/${this.#child.pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Lets the process have no more than so many file descriptors for a while, whatever it has open already. */
  async exhaustDescriptors(most: number, ms: number): Promise<void> {
    const pid = String(this.#child.pid);
    const limits = await readFile(`/proc/${pid}/limits`, "utf8");
    const usual = /^Max open files +(\d+)/m.exec(limits)![1]!;
    const limit = async (soft: string) => void await run("prlimit", ["--pid", pid, `--nofile=${soft}:`]);
    await limit(String(most));
    await delay(ms).finally(() => limit(usual));
  }

  /** Closes all servers; the process has to end by itself then. */
  async stop(): Promise<void> {
    const closed = once(this.#child, "close");
    await Promise.race([this.order({ do: "stop" }), this.failed, late("closing the servers")]);
    this.#isStopping = true;
    // Deno reads on from its standard input, whatever the process does with it.
    this.#child.stdin.end();
    const [code, signal] = await Promise.race([closed, late("the end of the server process")]);
    if (code !== 0) throw new Error(`the server process has ended: ${code ?? signal}`);
  }

  /** Ends the process, if it has not ended. */
  kill(): void {
    this.#isStopping = true;
    this.#child.kill("SIGKILL");
  }

  #hear(report: Report): void {
    if ("ready" in report) this.#targets.resolve(report.ready);
    else if ("done" in report) this.#answers.shift()?.(report.done);
    else if ("reload" in report) { for (const listener of this.#reloads) listener(report.reload); }
    else if ("error" in report) this.#failed.reject(new Error(report.error));
  }
}

async function late(what: string): Promise<never> {
  await delay(STOP_MS, undefined, { ref: false });
  throw new Error(`${what} takes longer than ${STOP_MS} ms`);
}
