import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsState } from "../accept/tls_state.ts";
import { takesTrustAway } from "../accept/trust.ts";
import { Retry } from "../backoff.ts";
import { type Backend, FrontGeneration, type FrontGenerations } from "./front_generations.ts";

/** What a {@linkcode FrontSuccession} gets from its front. */
interface FrontContext<Server> {
  readonly state: TlsState;
  readonly generations: FrontGenerations<Server>;
  /** Starts the backend of a generation and proves that it can serve; rejects if it cannot. */
  start(acceptor: TlsAcceptor): Backend<Server> | Promise<Backend<Server>>;
  /** Called when clients that were held may be served. */
  onReleased(): void;
  /** Called when no start is under way any more. */
  onRested(): void;
  /** Reports an error. */
  report(error: unknown): void;
}

/** A start that failed because no descriptor or port was free can succeed later. */
const RETRY_PAUSES = { firstMs: 1_000, lastMs: 60_000 };

/**
 * Makes the newest configuration serve behind a front.
 *
 * Invariant: one start runs at a time, always of the newest configuration. If the start fails, the previous generation
 * serves on, unless it trusts clients that the newest configuration does not: then clients are held until a start
 * succeeds.
 */
export class FrontSuccession<Server> {
  readonly #context: FrontContext<Server>;
  readonly #retry = new Retry(() => this.#try(), RETRY_PAUSES);
  /** The newest generation whose start has ended, well or not. */
  #tried: number;
  #attempt: Promise<void> | undefined;
  #isHolding = false;
  #isStopped = false;

  constructor(context: FrontContext<Server>) {
    this.#context = context;
    this.#tried = context.generations.serving.generation;
  }

  /** Whether clients are held, because the serving generation trusts clients that the state no longer trusts. */
  get isHolding(): boolean {
    return this.#isHolding;
  }

  /** Whether a client can be served at once. */
  get isSettled(): boolean {
    return this.#tried >= this.#context.state.generation && !this.#isHolding;
  }

  /** Whether a start is under way. */
  get isStarting(): boolean {
    return this.#attempt !== undefined;
  }

  /** Resolves when the generation that is the newest now has been started, well or not. */
  async settled(): Promise<void> {
    const { generation } = this.#context.state;
    while (this.#tried < generation && this.#attempt) await this.#attempt;
  }

  /** Starts the newest generation, and again if a swap made another one the newest meanwhile. */
  advance(): void {
    const { state, generations } = this.#context;
    if (this.#isStopped || this.#tried >= state.generation) return;
    this.#retry.reset();
    generations.drainUntrusted(state.current());
    this.#try();
    generations.serving.backend.refuseDirectConnections?.();
  }

  /** No start begins any more. */
  stop(): void {
    this.#isStopped = true;
    this.#retry.reset();
  }

  #try(): void {
    this.#attempt ??= this.#startNewest().then(() => {
      this.#attempt = undefined;
      this.advance();
      this.#context.onRested();
    });
  }

  async #startNewest(): Promise<void> {
    const { state, generations, start, report, onReleased } = this.#context;
    const acceptor = state.acceptor();
    try {
      generations.replaceServing(new FrontGeneration(acceptor, await start(acceptor)));
    } catch (error) {
      if (this.#tried < acceptor.generation) report(error);
      if (!this.#isStopped) this.#retry.schedule();
    }
    this.#tried = acceptor.generation;
    const wasHolding = this.#isHolding;
    this.#isHolding = takesTrustAway(generations.serving.config, acceptor.config);
    if (wasHolding && !this.#isHolding) onReleased();
  }
}
