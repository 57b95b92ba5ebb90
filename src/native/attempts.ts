import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { Retry } from "./retry.ts";
import { servingError } from "./serving_error.ts";

/** The task of {@linkcode Attempts}. */
export interface Attempted {
  /** The configuration that is to serve. */
  readonly newest: TlsAcceptor;
  /** Whether it serves. */
  isServedBy(acceptor: TlsAcceptor): boolean;
  /**
   * Makes a configuration serve. Returns without, if a newer one has replaced it meanwhile.
   *
   * @param acceptor The configuration.
   * @param isOvertaken Whether swaps have overtaken one proof after the other, so that this one must do without.
   */
  serve(acceptor: TlsAcceptor, isOvertaken: boolean): Promise<void>;
  /** Called when a configuration cannot serve, before the next attempt is scheduled. */
  failed(acceptor: TlsAcceptor): void;
  /** Reports an error. */
  report(error: unknown): void;
}

/** For how long swaps may overtake the proof of the one before; then the newest serves without. */
const OVERTAKEN_LIMIT_MS = 500;
const RETRY_PAUSES = { firstMs: 100, lastMs: 60_000 };

/**
 * Tries until the newest configuration serves.
 *
 * Invariant: there is at most one attempt at a time, and one timer for the next. The failure of a configuration is
 * reported once, however often it fails.
 */
export class Attempts {
  readonly #attempted: Attempted;
  readonly #retry = new Retry(() => this.begin(), RETRY_PAUSES);
  #running: Promise<void> | undefined;
  /** The configuration whose failure was reported. */
  #failed: TlsAcceptor | undefined;
  #isStopped = false;

  constructor(attempted: Attempted) {
    this.#attempted = attempted;
  }

  /** The attempt that is under way. */
  get running(): Promise<void> | undefined {
    return this.#running;
  }

  /** Begins an attempt, unless one is under way, which ends with the newest configuration all the same. */
  begin(): void {
    this.#running ??= this.#run();
  }

  /** There is a new configuration: its first retry comes soon. */
  restart(): void {
    this.#retry.reset();
    this.begin();
  }

  /** No attempt begins any more. */
  stop(): void {
    this.#isStopped = true;
    this.#retry.reset();
  }

  async #run(): Promise<void> {
    await undefined; // swaps of one turn end with the last of them
    const begin = performance.now();
    const attempted = this.#attempted;
    let acceptor = attempted.newest;
    try {
      while (!this.#isStopped && !attempted.isServedBy(acceptor)) {
        await attempted.serve(acceptor, performance.now() - begin > OVERTAKEN_LIMIT_MS);
        if (attempted.isServedBy(acceptor)) this.#failed = undefined;
        acceptor = attempted.newest;
      }
    } catch (error) {
      this.#fail(acceptor, error);
    } finally {
      // In the turn that found nothing to do: a swap right after it begins the next attempt.
      this.#running = undefined;
    }
  }

  #fail(acceptor: TlsAcceptor, error: unknown): void {
    if (this.#isStopped) return;
    if (this.#failed !== acceptor) this.#attempted.report(servingError(acceptor, error));
    this.#failed = acceptor;
    this.#attempted.failed(acceptor);
    this.#retry.schedule();
  }
}
