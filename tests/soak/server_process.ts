import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Measure, Order, Outcome, Report, Target } from "./server.ts";
import type { Sources } from "./states.ts";

const SERVER = fileURLToPath(new URL("server.ts", import.meta.url));
const STOP_MS = 60_000;

/** How a server process is started. */
export interface Launch {
  /** The program and its arguments before the file. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly sources: Sources;
}

/** An error of a server of the process. */
export type ServerError = Extract<Report, { error: string }>;

/** The server process as its driver sees it. */
export class ServerProcess {
  readonly #child: ReturnType<typeof launch>;
  readonly #answers: { resolve(answer: unknown): void; reject(error: unknown): void }[] = [];
  readonly #reloads = new Set<(outcome: Outcome) => void>();
  readonly #failed = Promise.withResolvers<never>();
  readonly #targets = Promise.withResolvers<readonly Target[]>();
  /** Returns whether an error may happen now. */
  excuse: (error: ServerError) => boolean = () => false;
  #isStopping = false;

  private constructor(options: Launch) {
    this.#child = launch(options);
    this.#child.once("close", (code, signal) => {
      if (!this.#isStopping) this.#failed.reject(new Error(`the server process has ended: ${code ?? signal}`));
    });
    this.#child.stdin.on("error", () => {});
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hear(JSON.parse(line)));
    this.#failed.promise.catch(() => {});
  }

  /** Starts the process, and resolves when all of its servers listen. */
  static async start(options: Launch): Promise<ServerProcess> {
    const server = new ServerProcess(options);
    await Promise.race([server.targets, server.failed]);
    return server;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Never resolves; rejects when the process dies, or reports an error that is not excused. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  get targets(): Promise<readonly Target[]> {
    return this.#targets.promise;
  }

  /** Gives an order, and resolves when it has been obeyed. */
  async order(order: Order["do"]): Promise<unknown> {
    const { promise, ...answer } = Promise.withResolvers<unknown>();
    this.#answers.push(answer);
    this.#child.stdin.write(`${JSON.stringify({ do: order } satisfies Order)}\n`);
    return await promise;
  }

  /** What it holds now, if it can tell. */
  async measure(): Promise<Measure | null> {
    return await this.order("measure") as Measure | null;
  }

  /** Calls a listener with the outcome of each reload, until it is disposed. */
  onReload(listener: (outcome: Outcome) => void): Disposable {
    this.#reloads.add(listener);
    return { [Symbol.dispose]: () => void this.#reloads.delete(listener) };
  }

  /** How many file descriptors are open. */
  async descriptors(): Promise<number> {
    return (await readdir(`/proc/${this.pid}/fd`)).length;
  }

  /** Processor seconds, of user and system. */
  async cpuSeconds(): Promise<number> {
    const fields = (await readFile(`/proc/${this.pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Closes all servers. */
  async close(): Promise<void> {
    await Promise.race([this.order("stop"), this.failed, late("closing the servers")]);
    this.#isStopping = true;
  }

  /** After `close()`, the process has to end by itself. */
  async end(): Promise<void> {
    const closed = once(this.#child, "close");
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
    else if ("done" in report) this.#answers.shift()?.resolve(report.done);
    else if ("failed" in report) this.#answers.shift()?.reject(new Error(report.failed));
    else if ("reload" in report) { for (const listener of this.#reloads) listener(report.reload); }
    else if (!this.excuse(report)) this.#failed.reject(new Error(report.error));
  }
}

function launch({ command: [program = "", ...args], env, sources }: Launch) {
  return spawn(program, [...args, SERVER, JSON.stringify(sources)], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
}

async function late(what: string): Promise<never> {
  await delay(STOP_MS, undefined, { ref: false });
  throw new Error(`${what} takes longer than ${STOP_MS} ms`);
}
