import type { Authorities } from "./authorities.ts";
import type { Ledger } from "./ledger.ts";
import type { StateName, Target } from "./server.ts";
import type { ServerProcess } from "./server_process.ts";

/** An invariant does not hold. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** What all loops of one soak share. */
export class SoakRun {
  readonly authorities: Authorities;
  readonly ledgers: Readonly<Record<StateName, Ledger>>;
  readonly server: ServerProcess;
  readonly targets: readonly Target[];
  /** Where the files are that the server reads. */
  readonly folder: string;
  /** How often what has happened. */
  readonly counts = new Map<string, number>();
  #exhaustedUntil = -Infinity;

  constructor(init: Pick<SoakRun, "authorities" | "ledgers" | "server" | "targets" | "folder">) {
    this.authorities = init.authorities;
    this.ledgers = init.ledgers;
    this.server = init.server;
    this.targets = init.targets;
    this.folder = init.folder;
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** Does something during which no new connection can be expected to succeed. */
  async withoutDescriptors(body: () => Promise<void>): Promise<void> {
    this.#exhaustedUntil = Infinity;
    await body().finally(() => this.#exhaustedUntil = performance.now());
  }

  /** Whether the server had no file descriptors at some time since then. */
  wasExhaustedSince(began: number): boolean {
    return this.#exhaustedUntil >= began;
  }
}
