import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Issued } from "./certificates.ts";

/** What a process with a handoff is told first. */
export interface HandoffChildInit {
  /** Certificates in the order of the generations, again and again. */
  readonly certificates: readonly Pick<Issued, "cert" | "key">[];
  /** Which of the servers of the runtime. */
  readonly kind?: number;
  readonly port?: number;
  readonly reusePort?: boolean;
}

export interface HandoffChildOptions {
  /** What stands before the program. By default all permissions. */
  readonly runArgs?: readonly string[];
  /** How many file descriptors it may have. */
  readonly fileLimit?: number;
  /** The program. */
  readonly program?: string;
  /** The runtime. By default this one. */
  readonly path?: string;
}

/** A process with a handoff. */
export interface HandoffChild extends AsyncDisposable {
  /** Its first line: where it listens, or why not. */
  readonly first: { readonly port?: number; readonly reason?: string; readonly code?: string };
  readonly pid: number;
  /** Gives a command, and returns the answer. */
  tell(command: string, ...args: readonly unknown[]): Promise<never>;
  /** Waits for a line that it writes by itself. */
  hears(): Promise<never>;
  /** Its exit code, when it has ended. */
  readonly exited: Promise<number | null>;
}

const PROGRAM = fileURLToPath(new URL("handoff_child_main.ts", import.meta.url));
const IMPORT_MAP = fileURLToPath(new URL("../std/import_map.json", import.meta.url));
const PERMISSIONS = process.versions["deno"] ? ["run", "-A", "--unstable-net", `--import-map=${IMPORT_MAP}`] : [];

/** Starts one. */
export async function startHandoffChild(
  init: HandoffChildInit,
  options: HandoffChildOptions = {},
): Promise<HandoffChild> {
  const { runArgs = PERMISSIONS, fileLimit, program = PROGRAM, path = process.execPath } = options;
  const command = `${fileLimit ? `ulimit -n ${fileLimit}; ` : ""}exec "$0" "$@"`;
  const child = spawn("sh", ["-c", command, path, ...runArgs, program], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit").then(([code]) => code as number | null);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const hears = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the process has ended: ${await exited}`);
    return JSON.parse(value) as never;
  };
  child.stdin.on("error", () => {}).write(`${JSON.stringify(init)}\n`);
  return {
    first: await hears(),
    pid: child.pid!,
    hears,
    exited,
    tell(command, ...args) {
      child.stdin.write(`${JSON.stringify([command, ...args])}\n`);
      return hears();
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
