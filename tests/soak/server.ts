// The server process of the soak: each kind of server that this runtime has, once on a state that takes anybody and
// once on one that asks for client certificates. It obeys, and reports, a line of JSON each. Started by driver.ts.
import { createInterface } from "node:readline";
import { join } from "node:path";
import process from "node:process";
import { loadTlsConfig, type TlsConfig, TlsState } from "../../mod.ts";
import { Reloader, type ReloadResult } from "../../src/reload.ts";
import { type Protocol, type Running, serverKinds } from "./servers.ts";

export type StateName = "open" | "mutual";

/** Where a client can connect to. */
export interface Target {
  readonly kind: string;
  readonly state: StateName;
  readonly port: number;
  readonly speaks: readonly Protocol[];
}

/** What a reload of a state came to. */
export interface Outcome {
  readonly state: StateName;
  readonly outcome: ReloadResult["outcome"];
  readonly fingerprint256: string;
  readonly code?: string;
}

/** What the server is told to do. */
export type Order =
  | { readonly do: "clock"; readonly offsetMs: number }
  | { readonly do: "measure" }
  | { readonly do: "reload" }
  | { readonly do: "roll back" }
  | { readonly do: "stop" };

/** What the server holds. */
export interface Measure {
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** The most generations that one front still holds. */
  readonly generations: number;
}

/** What the server says. */
export type Report =
  | { readonly ready: readonly Target[] }
  | { readonly done: unknown }
  | { readonly reload: Outcome }
  | { readonly error: string };

const RealDate = Date;
let offsetMs = 0;

/** A clock that can jump, for everything but the runtime's own code. */
globalThis.Date = class extends RealDate {
  constructor(...args: unknown[]) {
    super(...(args.length > 0 ? args : [RealDate.now() + offsetMs]) as [number]);
  }

  static override now(): number {
    return RealDate.now() + offsetMs;
  }
} as DateConstructor;

const [folder = "."] = process.argv.slice(2);
const say = (report: Report) => void process.stdout.write(`${JSON.stringify(report)}\n`);
const fail = (what: string) => (error: unknown) => {
  say({ error: `${what}: ${error instanceof Error ? `${error.stack} ${error.cause ?? ""}` : error}` });
};
process.on("uncaughtException", fail("uncaught exception"));
process.on("unhandledRejection", fail("unhandled rejection"));

const loaders: Record<StateName, () => Promise<TlsConfig>> = {
  open: () => loadTlsConfig(join(folder, "open.crt"), join(folder, "open.key")),
  mutual: () =>
    loadTlsConfig(join(folder, "mutual.crt"), join(folder, "mutual.key"), {
      clientAuth: { ca: join(folder, "mutual.ca"), mode: "required" },
    }),
};
const states = { open: new TlsState(await loaders.open()), mutual: new TlsState(await loaders.mutual()) };
let previous = states.mutual.current();
states.mutual.subscribe((swap) => previous = swap.previous);

/** One state follows its files, the other is told when to look at them. */
const reloaders = {
  open: new Reloader(states.open, loaders.open),
  mutual: new Reloader(states.mutual, loaders.mutual),
};
const tell = ({ detail }: CustomEvent<ReloadResult>) => say({ reload: outcomeOf("open", detail) });
reloaders.open.addEventListener("swap", tell);
reloaders.open.addEventListener("unchanged", tell);
reloaders.open.addEventListener("reject", (event) => {
  event.preventDefault();
  tell(event);
});
for (const reloader of Object.values(reloaders)) {
  reloader.addEventListener("reject", (event) => event.preventDefault());
  reloader.addEventListener("expiring", (event) => event.preventDefault());
}
reloaders.open.watch([join(folder, "open.crt"), join(folder, "open.key")], { settleMs: 50, pollIntervalMs: 2_000 });

function outcomeOf(state: StateName, result: ReloadResult): Outcome {
  const { fingerprint256 } = states[state].current().leaf;
  const { code } = Object(result.outcome === "rejected" ? result.error : undefined);
  return { state, outcome: result.outcome, fingerprint256, code };
}

/** What a peer does to itself, and what the driver does on purpose, is no news. */
function isExpected(error: unknown): boolean {
  return ["HANDSHAKE_FAILED", "HANDSHAKE_TIMEOUT", "CLIENT_UNAUTHORIZED", "EMFILE"].includes(Object(error).code);
}

function attempt<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch {
    return undefined;
  }
}

/** The HTTP/2 server of Deno 2.9.6 loses connections that last, and ends in SIGSEGV now and then, whatever serves TLS. */
const LEFT_OUT = process.versions["deno"] ? ["http2"] : [];

const running: Running[] = [];
const targets: Target[] = [];
for (const [kind, start] of Object.entries(serverKinds())) {
  if (LEFT_OUT.includes(kind)) continue;
  for (const [state, tlsState] of Object.entries(states)) {
    const onError = fail(`${kind} (${state})`);
    const server = await start(tlsState, (error) => isExpected(error) || onError(error));
    running.push(server);
    targets.push({ kind, state: state as StateName, port: server.port, speaks: server.speaks });
  }
}
say({ ready: targets });

const ORDERS: { readonly [Name in Order["do"]]: (order: Extract<Order, { do: Name }>) => unknown } = {
  clock(order) {
    offsetMs = order.offsetMs;
  },
  measure(): Measure | undefined {
    const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
    if (Bun) Bun.gc(true);
    else gc?.();
    // Without file descriptors there is nothing to read it from.
    const usage = attempt(() => process.memoryUsage());
    if (!usage) return undefined;
    const { heapUsed, external, rss } = usage;
    const generations = Math.max(...running.map((server) => server.generations?.().length ?? 1));
    return { heapBytes: heapUsed + external, rssBytes: rss, generations };
  },
  async reload() {
    return outcomeOf("mutual", await reloaders.mutual.reload());
  },
  "roll back"() {
    states.mutual.swap(previous);
  },
  async stop() {
    await Promise.all([...Object.values(reloaders), ...running].map((each) => each.close()));
  },
};

let isStopped = false;
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as Order;
  say({ done: await ORDERS[order.do](order as never) ?? null });
  isStopped = order.do === "stop";
}
// From here on nothing but what leaked keeps the process.
if (!isStopped) process.exit(1);
