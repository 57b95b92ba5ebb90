import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { installRuntimes } from "./runtimes.ts";

/** One connection of a client. */
export interface Visit {
  readonly port: number;
  /** The certificate of the client and what it sends beside it, in PEM. */
  readonly cert: string;
  readonly key: string;
  readonly version: "TLSv1.2" | "TLSv1.3";
  /** The session to resume. */
  readonly session?: string | undefined;
}

/** What the client saw. */
export interface Visited {
  /** Whether the first line of the server arrived. */
  readonly isGreeted: boolean;
  readonly isResumed: boolean;
  /** Whether the client was neither greeted nor refused in 10 seconds. */
  readonly isStalled: boolean;
  /** The latest session that the server gave it. */
  readonly session?: string | undefined;
}

const NODE = fileURLToPath(new URL("../../.runtimes/node_modules/node/bin/node", import.meta.url));
const PROGRAM = fileURLToPath(new URL("chain_client_main.ts", import.meta.url));

/**
 * A client that sends whatever certificates it is given, and resumes its sessions whatever the server thinks of them:
 * one process of Node for all tests of a file, whatever runtime they run on.
 */
export class ChainClient implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(path: string) {
    this.#child = spawn(path, ["--disable-warning=ExperimentalWarning", PROGRAM], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  static async start(): Promise<ChainClient> {
    if (!existsSync(NODE) && process.versions["deno"]) await installRuntimes();
    return new ChainClient(NODE);
  }

  /** Connects, and waits for a greeting or the end. */
  async visit(visit: Visit): Promise<Visited> {
    this.#child.stdin!.write(`${JSON.stringify(visit)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the client has ended");
    return JSON.parse(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.stdin!.end();
    await exited;
  }
}
