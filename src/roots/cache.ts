import { SingleFlight } from "../single_flight.ts";
import type { RootCertStore } from "./store.ts";

/**
 * Keeps the outcome of the first load, a store or an error, until a refresh succeeds.
 *
 * Invariant: at most one load runs. Callers during a load share its promise, and later callers get the same outcome.
 */
export class RootCache {
  readonly #loads: SingleFlight<RootCertStore>;
  #current: Promise<RootCertStore> | undefined;

  constructor(load: () => Promise<RootCertStore>) {
    this.#loads = new SingleFlight(load);
  }

  /** The current outcome. The first call starts the load. */
  get(): Promise<RootCertStore> {
    return this.#current ??= this.#loads.run();
  }

  /** Reads again. Refreshes during a running load share the next load, which has not read any file yet. */
  async refresh(): Promise<RootCertStore> {
    const load = this.#loads.run();
    this.#current ??= load;
    const store = await load;
    this.#current = load;
    return store;
  }
}
