/**
 * Runs one operation at a time. A call while nothing runs starts the operation before it returns. Calls during a run
 * share the next run, which begins after the current one has ended, so every caller gets an outcome that was made from
 * what was true at the time of the call or later. A rejection goes to the callers of its run and does not stop the
 * next one.
 */
export class SingleFlight<Result> {
  readonly #operation: () => Promise<Result>;
  /** Defined from the start of a run until nothing runs and nothing waits. */
  #current: Promise<Result> | undefined;
  /** The run that begins after the current one, once someone has asked for it. */
  #next: Promise<Result> | undefined;

  /** @param operation What runs. It must settle: the next run waits for it. */
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

  /** Resolves when the runs that were asked for until now have ended. Never rejects. */
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
