// Servers that take part, of either kind.
import { attempt, type Bench } from "./bench.ts";
import { LineChild, type Running, type ServerProcess } from "./child.ts";
import type { StartPeer } from "./peers.ts";

export interface Subject {
  readonly name: string;
  readonly isOurs?: boolean;
  /** Whether it can take part here. */
  isPresent(bench: Bench): boolean;
  start(bench: Bench, folder: string): Promise<Running>;
}

export interface ServerOptions extends ServerProcess {
  /** What the tables call it. */
  readonly name?: string;
  readonly isOurs?: boolean;
}

/** A server of `servers/`. */
export function server(runtime: keyof Bench["runtimes"], kind: string, options: ServerOptions = {}): Subject {
  const { name = kind, isOurs = false } = options;
  return {
    name,
    isOurs,
    isPresent: ({ runtimes }) => runtimes[runtime] !== undefined,
    start: ({ runtimes }, folder) => LineChild.server(runtimes[runtime]!, kind, folder, options),
  };
}

/** One of `peers.ts`. */
export function peer(program: string, start: StartPeer, name: string): Subject {
  return { name, isPresent: ({ peers }) => peers.has(program), start };
}

/** One of them in front of a server that has no TLS. */
export function proxy(program: string, start: StartPeer, inner: Subject): Subject {
  return {
    name: `${program} in front of ${inner.name}`,
    isPresent: (bench) => bench.peers.has(program) && inner.isPresent(bench),
    async start(bench, folder) {
      const behind = await inner.start(bench, folder);
      const before = await start(bench, folder, behind.port);
      return {
        port: before.port,
        pids: [...before.pids, ...behind.pids],
        swap: () => before.swap(),
        stop: async () => {
          await before.stop();
          await behind.stop();
        },
      };
    },
  };
}

/** Starts all that can take part; the others are named as absent. */
export async function startAll(
  bench: Bench,
  subjects: readonly Subject[],
): Promise<{ running: Map<Subject, Running>; folder: string; absent: string[]; stop(): Promise<void> }> {
  const running = new Map<Subject, Running>();
  const folder = await bench.folder();
  for (const subject of subjects) {
    if (!subject.isPresent(bench)) continue;
    const started = await attempt(bench, subject.name, () => subject.start(bench, folder));
    if (started) running.set(subject, started);
  }
  return {
    running,
    folder,
    absent: subjects.filter((subject) => !running.has(subject)).map(({ name }) => name),
    stop: async () => {
      for (const each of running.values()) await each.stop();
    },
  };
}
