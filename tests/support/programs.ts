import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A program that runs in a process of its own, on the runtime of the test. */
export interface Program extends AsyncDisposable {
  /** Waits for a line that matches, be it printed already, and returns its match. Lines before it are passed. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
  /** What it has printed. */
  output(): string;
  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void;
  /** Waits until the program ends, and returns its exit code. */
  ended(): Promise<number | null>;
}

/** How a program is started. */
export interface ProgramOptions {
  readonly args?: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The permissions on Deno. */
  readonly denoFlags?: readonly string[];
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** No program takes this long to print its next line, except on a machine that stands still. */
const LINE_TIMEOUT_MS = 60_000;
const KEPT = ["HOME", "PATH", "DENO_DIR", "NODE_COMPILE_CACHE"];

/**
 * Starts a program.
 *
 * @param file Its path from the root of this repository, or an absolute path.
 * @param options Its arguments, working directory, and what its environment holds beside `PATH` and its like.
 */
export function startProgram(file: string, options: ProgramOptions = {}): Program {
  const { args = [], cwd = ROOT, env = {}, denoFlags = ["-A"] } = options;
  const runArgs = process.versions["deno"] ? ["run", "--no-prompt", "--quiet", "--no-check", ...denoFlags] : [];
  const kept = KEPT.map((name) => [name, process.env[name]]).filter(([, value]) => value);
  const child = spawn(process.execPath, [...runArgs, file, ...args], {
    cwd,
    env: { ...Object.fromEntries(kept), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  let output = "";
  let onChange = () => {};
  const end = new Promise<number | null>((resolve) => child.once("close", resolve));
  let isOver = false;
  end.then(() => {
    isOver = true;
    onChange();
  });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      output += `${line}\n`;
      lines.push(line);
      onChange();
    });
  }
  return {
    async line(pattern) {
      for (;;) {
        for (let line = lines.shift(); line !== undefined; line = lines.shift()) {
          const match = pattern.exec(line);
          if (match) return match;
        }
        if (isOver) throw new Error(`${file} ended without a line like ${pattern}:\n${output}`);
        const isTooLate = await new Promise<boolean>((resolve) => {
          const timer = setTimeout(() => resolve(true), LINE_TIMEOUT_MS);
          onChange = () => {
            clearTimeout(timer);
            resolve(false);
          };
        });
        if (isTooLate) throw new Error(`${file} has not printed a line like ${pattern}:\n${output}`);
      }
    },
    output: () => output,
    // On Deno child.kill() sends one signal only, whatever it is.
    kill: (signal) => void process.kill(child.pid!, signal),
    ended: () => end,
    async [Symbol.asyncDispose]() {
      if (!isOver) process.kill(child.pid!, "SIGKILL");
      await end;
    },
  };
}
