// Processes that serve, ours and others.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createConnection } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Runtime } from "../../tests/support/runtimes.ts";

/** A server that runs. */
export interface Running {
  readonly port: number;
  /** The processes that it is. */
  readonly pids: readonly number[];
  /** Lets it serve the other certificate; resolves when the server has said so, or has been told and does not say. */
  swap(): Promise<void>;
  stop(): Promise<void>;
}

export interface ServerProcess {
  /** What stands before the file, besides what the runtime needs. */
  readonly flags?: readonly string[];
  readonly asksForCertificates?: boolean;
}

const SERVERS = fileURLToPath(new URL("../servers/main.ts", import.meta.url));
/** What a runtime needs to collect garbage when it is asked to. */
export const GC_FLAGS = { node: ["--expose-gc"], deno: ["--v8-flags=--expose-gc"], bun: [] };
const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 5_000;
const children = new Set<ChildProcess>();

/** Starts a program. */
export function spawnChild(program: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });
  let said = "";
  child.stderr!.on("data", (text) => said = (said + text).slice(-2_000));
  child.stdin!.on("error", () => {});
  children.add(child);
  child.once("exit", (code) => {
    children.delete(child);
    if (code) console.error(`${program} ended with ${code}: ${said}`);
  });
  return child;
}

export async function stopChild(child: ChildProcess): Promise<void> {
  if (!children.has(child)) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => kill(child), STOP_TIMEOUT_MS);
  await once(child, "exit");
  clearTimeout(timer);
}

/** Not `child.kill()`: after the first signal that it sends, Deno sends no other. */
function kill({ pid }: ChildProcess): void {
  try {
    process.kill(pid!, "SIGKILL");
  } catch {
    // It has ended, and the event is on its way.
  }
}

/** The first line that a child prints. */
export async function firstLine(child: ChildProcess): Promise<string> {
  const { value } = await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next();
  if (value === undefined) throw new Error("Cannot measure: a client has ended");
  return value;
}

/** Stops every child that still runs. */
export async function stopChildren(): Promise<void> {
  await Promise.all([...children].map(stopChild));
}

/** A child that prints its port and answers each line with a line. */
export class LineChild implements Running {
  readonly port: number;
  readonly pids: readonly number[];
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, port: number) {
    this.#child = child;
    this.#lines = lines;
    this.port = port;
    this.pids = [child.pid!];
  }

  static async start(program: string, args: readonly string[]): Promise<LineChild> {
    const child = spawnChild(program, args);
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const port = Number((await lines.next()).value);
    if (!port) throw new Error(`Cannot measure: "${[program, ...args].join(" ")}" did not start`);
    return new LineChild(child, lines, port);
  }

  /** Starts one of `servers/`. */
  static server(runtime: Runtime, name: string, folder: string, options: ServerProcess = {}): Promise<LineChild> {
    const { flags = [], asksForCertificates = false } = options;
    const args = [...runtime.runArgs, ...flags, SERVERS, name, folder];
    return LineChild.start(runtime.path, asksForCertificates ? [...args, "--client-certificates"] : args);
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin!.write(`${line}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("Cannot measure: the server has ended");
    return value;
  }

  async swap(): Promise<void> {
    await this.ask("swap");
  }

  /** Collects garbage, and tells what is left. */
  async heapMiB(): Promise<number> {
    return Number(await this.ask("memory"));
  }

  stop(): Promise<void> {
    return stopChild(this.#child);
  }
}

/** Resolves when a server accepts connections there. */
export async function listening(port: number): Promise<void> {
  const end = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < end) {
    const socket = createConnection({ host: "127.0.0.1", port });
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await delay(20);
  }
  throw new Error(`Cannot measure: no server listens after ${START_TIMEOUT_MS} ms`);
}
