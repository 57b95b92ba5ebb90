// The server process of the soak: each kind of server that this runtime has, on each state that it can serve. Orders and
// reports are a line of JSON each. Started by driver.ts.
import { createInterface } from "node:readline";
import process from "node:process";
import type { ReloadResult } from "../../src/reload.ts";
import { type Protocol, type Running, serverKinds } from "./servers.ts";
import { followAll, type Sources, type StateName } from "./states.ts";

/** A server that clients can connect to. */
export interface Target {
  readonly kind: string;
  readonly state: StateName;
  readonly port: number;
  readonly speaks: readonly Protocol[];
  /** Whether the server knows which client a connection belongs to. */
  readonly knowsClients: boolean;
}

/** The outcome of a reload of a state. */
export interface Outcome {
  readonly state: StateName;
  /** The code of the error of a rejected one. */
  readonly outcome: "swapped" | "unchanged" | "pending" | string;
  /** The certificates that are served, in their order. */
  readonly served: readonly string[];
}

/** What the server is told to do. */
export interface Order {
  readonly do: "measure" | "reload" | "roll back" | "stop";
}

/** What the server holds. */
export interface Measure {
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** The most generations that one server or state still holds. */
  readonly generations: number;
  /** The connections of each generation, of those that hold several. */
  readonly held: readonly string[];
}

/** What the server says. */
export type Report =
  | { readonly ready: readonly Target[] }
  | { readonly done: unknown }
  | { readonly failed: string }
  | { readonly reload: Outcome }
  /** With a code, an error of a server on that state. */
  | { readonly error: string; readonly code?: string; readonly state?: StateName };

const { bun, deno } = process.versions;
/** The HTTP/2 server of Deno 2.9.6 loses connections that last, and ends in SIGSEGV now and then, whatever serves TLS. */
const LEFT_OUT: readonly string[] = deno ? ["http2"] : [];
/** The states that a kind cannot serve, see the table of the README. */
const LACKS: Readonly<Record<string, readonly StateName[]>> = bun
  ? { tls: ["names"], https: ["names"], http2: ["names"] }
  : { "deno listenTls": ["mutual"], "deno serve": ["mutual"] };
/** Kinds that learn from Bun only that a client was let in. */
const KNOWS_NO_CLIENTS: readonly string[] = bun ? ["https", "bun serve", "bun serve, front"] : [];
/** Errors that clients cause. */
const EXPECTED = ["HANDSHAKE_FAILED", "HANDSHAKE_TIMEOUT", "CLIENT_UNAUTHORIZED"];

process.stdout.once("error", () => process.exit(1));
const say = (report: Report) => void process.stdout.write(`${JSON.stringify(report)}\n`);
const textOf = (error: unknown) =>
  error instanceof Error ? `${error.stack} ${error.cause instanceof Error ? error.cause.stack : ""}` : String(error);
process.on("uncaughtException", (error) => say({ error: `uncaught exception: ${textOf(error)}` }));
process.on("unhandledRejection", (error) => say({ error: `unhandled rejection: ${textOf(error)}` }));

const states = await followAll(JSON.parse(process.argv[2]!) as Sources);
for (const [state, { reloader }] of states) {
  const tell = ({ detail }: CustomEvent<ReloadResult>) => say({ reload: outcomeOf(state, detail) });
  reloader.addEventListener("swap", tell);
  reloader.addEventListener("pending", tell);
  reloader.addEventListener("reject", (event) => {
    event.preventDefault();
    tell(event);
  });
  for (const quiet of ["expiring", "disconnect", "partial"] as const) {
    reloader.addEventListener(quiet, (event) => event.preventDefault());
  }
}
const mutual = states.get("mutual")!;
let previous = mutual.state.current();
mutual.state.subscribe((swap) => previous = swap.previous);

function outcomeOf(state: StateName, result: ReloadResult): Outcome {
  const served = states.get(state)!.state.current().certifiedKeys.map(({ leaf }) => leaf.fingerprint256);
  const code = result.outcome === "rejected" ? (result.error as { code?: string }).code ?? String(result.error) : "";
  return { state, outcome: code || result.outcome, served };
}

const running: Running[] = [];
const targets: Target[] = [];
const stores = [...states.keys()].filter((name) => name !== "names" && name !== "mutual");

/** Files, client certificates, and one of the stores in turn. */
function statesFor(kind: string, index: number): readonly StateName[] {
  const store = stores[index % stores.length];
  const all: readonly StateName[] = ["names", "mutual", ...(store ? [store] : [])];
  return all.filter((state) => !LACKS[kind]?.includes(state));
}

for (const [index, [kind, start]] of Object.entries(serverKinds()).entries()) {
  if (LEFT_OUT.includes(kind)) continue;
  for (const state of statesFor(kind, index)) {
    const server = await start(states.get(state)!.state, (error) => {
      const { code } = error as { code?: string };
      if (!EXPECTED.includes(code!)) {
        say({ error: `${kind} (${state}): ${textOf(error)}`, state, ...(code && { code }) });
      }
    });
    running.push(server);
    const { port, speaks, mechanism } = server;
    const knowsClients = !KNOWS_NO_CLIENTS.includes(kind);
    targets.push({ kind: `${kind} by ${mechanism}`, state, port, speaks, knowsClients });
  }
}
say({ ready: targets });

function attempt<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch {
    return undefined;
  }
}

const ORDERS: { readonly [Name in Order["do"]]: () => unknown } = {
  measure(): Measure | undefined {
    const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
    if (Bun) Bun.gc(true);
    else gc?.();
    // Without file descriptors there is nothing to read it from.
    const usage = attempt(() => process.memoryUsage());
    if (!usage) return undefined;
    const { heapUsed, external, rss } = usage;
    const counted = [
      ...[...states].map(([name, { state }]) => [name, state.generations] as const),
      ...running.map((server, index) =>
        [`${targets[index]!.kind} (${targets[index]!.state})`, server.generations?.() ?? []] as const
      ),
    ];
    const generations = Math.max(1, ...counted.map(([, each]) => each.length));
    const held = counted.filter(([, each]) => each.length > 1)
      .map(([name, each]) => `${name}: ${each.map(({ connections }) => connections).join(", ")}`);
    return { heapBytes: heapUsed + external, rssBytes: rss, generations, held };
  },
  reload: () => mutual.reloader.reload().then(() => {}),
  "roll back"() {
    mutual.state.swap(previous);
  },
  async stop() {
    const reloaders = [...states.values()].map(({ reloader }) => reloader);
    await Promise.all([...reloaders, ...running].map((each) => each.close()));
  },
};

let isStopped = false;
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as Order;
  try {
    say({ done: await ORDERS[order.do]() ?? null });
  } catch (error) {
    say({ failed: textOf(error) });
  }
  isStopped = order.do === "stop";
}
// From here on nothing but what leaked keeps the process.
if (!isStopped) process.exit(1);
