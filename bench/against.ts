// Rotates the certificates of any server that a command starts, beside one of ours: see docs/bench.md
import process from "node:process";
import { freePort } from "../tests/support/ports.ts";
import { rotateAll } from "./rotation.ts";
import { type Bench, put } from "./support/bench.ts";
import { listening, type Running, spawnChild, stopChild } from "./support/child.ts";
import type { Table } from "./support/report.ts";
import { server, type Subject } from "./support/subject.ts";

export interface AgainstOptions {
  /** Starts the server; `{cert}`, `{key}`, `{pem}` and `{port}` are replaced. */
  readonly command: string;
  /** Tells the server of new files, in place of the signal; `{pid}` is replaced as well. */
  readonly reload?: string | undefined;
  readonly signal: string;
}

const CONTROL = server("node", "https.createServer and attach()", {
  name: "control: https.createServer and attach(), node",
  isOurs: true,
});

export function measureAgainst(bench: Bench, options: AgainstOptions): Promise<Table[]> {
  return rotateAll(bench, [bringServer(options), CONTROL]);
}

/** A server that this command starts. */
export function bringServer({ command, reload, signal }: AgainstOptions): Subject {
  return {
    name: command.replaceAll("|", "\\|"),
    isPresent: () => true,
    async start({ pairs }, folder): Promise<Running> {
      const port = await freePort();
      const fill = (text: string, pid = 0) =>
        text.replace(/\{(cert|key|pem|port|pid)\}/g, (_placeholder, name) => {
          return String(
            { cert: `${folder}/tls.crt`, key: `${folder}/tls.key`, pem: `${folder}/tls.pem`, port, pid }[name as "pid"],
          );
        });
      // The process is then the server, and not a shell that would keep the signal to itself.
      const child = spawnChild("sh", ["-c", `exec ${fill(command)}`]);
      const pid = child.pid!;
      await listening(port);
      let swaps = 0;
      return {
        port,
        pids: [pid],
        async swap() {
          await put(folder, pairs[++swaps % 2]!);
          if (reload) await runToEnd(fill(reload, pid));
          else process.kill(pid, signal as NodeJS.Signals);
        },
        stop: () => stopChild(child),
      };
    },
  };
}

async function runToEnd(command: string): Promise<void> {
  const child = spawnChild("sh", ["-c", command]);
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`Cannot measure: the command of '--reload' failed: ${command}`);
}
