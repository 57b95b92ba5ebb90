import type { Authorities } from "./authorities.ts";
import type { Ledger } from "./ledger.ts";
import type { Target } from "./server.ts";
import type { ServerProcess } from "./server_process.ts";
import type { StateName } from "./states.ts";

/** An invariant does not hold. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** What all loops of one soak share. */
export class SoakRun {
  readonly authorities: Authorities;
  readonly ledgers: ReadonlyMap<StateName, Ledger>;
  readonly server: ServerProcess;
  readonly targets: readonly Target[];
  /** When the server was stopped or had no descriptors: new connections may fail, and swaps take effect late. */
  readonly excuses = new Excuses();
  /** When a native server took too long to start, and an older one served on. */
  readonly late = new Excuses();
  #counts = new Map<string, number>();

  constructor(init: Pick<SoakRun, "authorities" | "ledgers" | "server" | "targets">) {
    this.authorities = init.authorities;
    this.ledgers = init.ledgers;
    this.server = init.server;
    this.targets = init.targets;
  }

  count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  /** How often what has happened since the last call. */
  takeCounts(): Record<string, number> {
    const counts = Object.fromEntries(this.#counts);
    this.#counts = new Map();
    return counts;
  }
}

/** Times at which less can be expected, until the server has recovered. */
export class Excuses {
  #active = 0;
  #endedAt = -Infinity;

  /** Does something that is such a time. */
  async during(body: () => Promise<void>): Promise<void> {
    this.#active++;
    await body().finally(() => {
      this.#active--;
      this.#endedAt = performance.now();
    });
  }

  /** Whether there was such a time since then. */
  since(began: number): boolean {
    return this.#active > 0 || this.#endedAt >= began;
  }
}
