import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { freePort } from "./ports.ts";

/** A store that other processes write to: a real server in a process of its own, with its data in a folder of its own. */
export class Engine implements AsyncDisposable {
  readonly port: number;
  readonly #command: string;
  readonly #args: readonly string[];
  readonly #folder: string;
  readonly #lastSignal: NodeJS.Signals;
  #child: ChildProcess | undefined;

  private constructor(
    port: number,
    command: string,
    args: readonly string[],
    folder: string,
    lastSignal: NodeJS.Signals,
  ) {
    this.port = port;
    this.#command = command;
    this.#args = args;
    this.#folder = folder;
    this.#lastSignal = lastSignal;
  }

  /**
   * Starts an engine, and resolves once it accepts connections.
   *
   * @param command The program.
   * @param argsOf Prepares the folder, and returns the arguments.
   * @param lastSignal Ends the engine after the test.
   */
  static async start(
    command: string,
    argsOf: (port: number, folder: string) => readonly string[],
    lastSignal: NodeJS.Signals = "SIGKILL",
  ): Promise<Engine> {
    const folder = await mkdtemp(join(tmpdir(), "tls-reload-"));
    const port = await freePort();
    const engine = new Engine(port, command, argsOf(port, folder), folder, lastSignal);
    await engine.resurrect();
    return engine;
  }

  /** Starts the engine again after it was killed. */
  async resurrect(): Promise<void> {
    this.#child = spawn(this.#command, this.#args, { stdio: "ignore", cwd: this.#folder });
    while (!await accepts(this.port)) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** Kills the engine without notice. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** Stops the engine where it is, until it is resumed. Its connections stay open. */
  pause(): void {
    process.kill(this.#child!.pid!, "SIGSTOP");
  }

  /** Lets the engine go on. */
  resume(): void {
    // `ChildProcess.kill()` of Deno sends one signal in the life of a child.
    process.kill(this.#child!.pid!, "SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end(this.#lastSignal);
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const exited = once(this.#child!, "exit");
    process.kill(this.#child!.pid!, signal);
    await exited;
  }
}

/** Why the tests of an engine are skipped, if they are. */
export function missing(command: string): string | false {
  return spawnSync(command, ["--version"]).error !== undefined && `${command} is not installed`;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    }).once("error", () => resolve(false));
  });
}
