import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Issued } from "./certificates.ts";
import type { Runtime } from "./runtimes.ts";

const PROGRAM = fileURLToPath(new URL("child_server_main.ts", import.meta.url));

/** By what it serves; an acceptor is that of an attached server. */
export type ChildMechanism = "handoff" | "front" | "acceptor";

/** A server in a process of its own. */
export interface ChildServer {
  readonly pid: number;
  readonly port: number;
  /** The codes of the errors that it reported. */
  readonly errors: readonly string[];
  /** Gives a command and waits until it has been carried out. */
  tell(command: "fill" | "release" | "swap"): Promise<void>;
  /** Ends it. */
  close(): Promise<void>;
}

/**
 * Starts one.
 *
 * @param runtime What it runs on.
 * @param certificates The first is served until the command `swap`, then the second, then the first again.
 * @param options How many file descriptors it may have, and by which mechanism it serves.
 */
export async function startChildServer(
  { path, runArgs }: Pick<Runtime, "path" | "runArgs">,
  certificates: readonly [Issued, Issued],
  options: { readonly fileLimit?: number; readonly mechanism?: ChildMechanism } = {},
): Promise<ChildServer> {
  const { fileLimit, mechanism } = options;
  const command = `${fileLimit ? `ulimit -n ${fileLimit}; ` : ""}exec "$0" "$@"`;
  const child = spawn("sh", ["-c", command, path, ...runArgs, PROGRAM], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...(mechanism && { TLS_RELOAD_MECHANISM: mechanism }) },
  });
  const errors: string[] = [];
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const hear = async () => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error("the server is gone");
      if (!value.startsWith("error ")) return value as string;
      errors.push(value.slice("error ".length));
    }
  };
  child.stdin.write(`${JSON.stringify(certificates.map(({ cert, key }) => ({ cert, key })))}\n`);
  return {
    pid: child.pid!,
    port: Number((await hear()).slice("port ".length)),
    errors,
    async tell(command) {
      child.stdin.write(`${command}\n`);
      assertEquals(await hear(), command);
    },
    async close() {
      child.stdin.end();
      if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
    },
  };
}
