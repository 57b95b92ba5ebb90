/**
 * Runs one operation at a time. A call starts the operation before it returns, if no run is active. Calls during a run
 * share the next run, which begins after the current one. A rejection goes to the callers of its run and does not stop
 * the next run.
 *
 * Invariant: at most one run is active, and no caller gets the outcome of a run that began before the call.
 */
export class SingleFlight<Result> {
  readonly #operation: () => Promise<Result>;
  /** Defined as long as a run is active or waits. */
  #current: Promise<Result> | undefined;
  /** The run after the current one, once a call has requested it. */
  #next: Promise<Result> | undefined;

  /** @param operation The operation. Its promise must settle, because the next run waits for it. */
  constructor(operation: () => Promise<Result>) {
    this.#operation = operation;
  }

  /** Starts the operation, or joins the run that begins after the current one. */
  run(): Promise<Result> {
    if (this.#current === undefined) return this.#start();
    if (this.#next === undefined) {
      const start = () => this.#start();
      this.#next = this.#current.then(start, start);
    }
    return this.#next;
  }

  /** Resolves when the runs that were requested until now have ended. Never rejects. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#current, this.#next]);
  }

  #start(): Promise<Result> {
    this.#next = undefined;
    const run = (async () => await this.#operation())();
    this.#current = run;
    const end = () => {
      if (this.#next === undefined) this.#current = undefined;
    };
    run.then(end, end);
    return run;
  }
}
