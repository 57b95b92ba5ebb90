import { clearTimeout, setTimeout } from "node:timers";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { takesTrustAway } from "../accept/trust.ts";
import { Retry } from "../backoff.ts";
import { LOOPBACK, type NativeServer } from "./native_server.ts";
import type { HandoffContext, PublicPort } from "./public_port.ts";
import { servingError } from "./serving_errors.ts";

/** The longest that connections wait for a configuration, if the previous one may serve them. */
const PARK_LIMIT_MS = 1_000;
/** For how long swaps may overtake the proof of the one before; then the newest serves without. */
const OVERTAKEN_LIMIT_MS = 500;
const RETRY_PAUSES = { firstMs: 100, lastMs: 60_000 };

/**
 * Makes the newest configuration serve a port.
 *
 * Invariant: no server accepts from a swap on, until a server of the newest configuration has proved itself and got the
 * port. A server that is not of the newest by then never gets the port. If the start fails, the previous server serves
 * on, unless that would let in a client on trust that was taken away. There is at most one attempt at a time, and one
 * timer for the next; the failure of a configuration is reported once, however often it fails.
 */
export class HandoffSuccession<Server extends NativeServer> {
  readonly #port: PublicPort<Server>;
  readonly #context: HandoffContext<Server>;
  readonly #retry = new Retry(() => this.renew(), RETRY_PAUSES);
  #attempt: Promise<void> | undefined;
  /** The configuration whose failure was reported. */
  #failed: TlsAcceptor | undefined;
  #parkTimer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  constructor(port: PublicPort<Server>, context: HandoffContext<Server>) {
    this.#port = port;
    this.#context = context;
  }

  /** The attempt that is under way. */
  get attempt(): Promise<void> | undefined {
    return this.#attempt;
  }

  /** There is a new configuration: its first retry comes soon. */
  swapped(): void {
    if (!this.#port.isParked && !this.#port.isLost) {
      this.#port.park();
      clearTimeout(this.#parkTimer);
      this.#parkTimer = setTimeout(() => this.#limitPark(), PARK_LIMIT_MS).unref();
    }
    this.#retry.reset();
    this.renew();
  }

  /** Begins an attempt, unless one is under way, which ends with the newest configuration all the same. */
  renew(): void {
    this.#attempt ??= this.#run();
  }

  /** No attempt begins any more. */
  stop(): void {
    this.#isStopped = true;
    this.#retry.reset();
    clearTimeout(this.#parkTimer);
  }

  async #run(): Promise<void> {
    await undefined; // swaps of one turn end with the last of them
    const begin = performance.now();
    let acceptor = this.#context.newest();
    try {
      while (!this.#isStopped && !this.#port.isServedBy(acceptor)) {
        await this.#serve(acceptor, performance.now() - begin > OVERTAKEN_LIMIT_MS);
        if (this.#port.isServedBy(acceptor)) this.#succeeded();
        acceptor = this.#context.newest();
      }
    } catch (error) {
      this.#fail(acceptor, error);
    } finally {
      // In the turn that found nothing to do: a swap right after it begins the next attempt.
      this.#attempt = undefined;
    }
  }

  /** Makes a configuration serve, unless a newer one has replaced it meanwhile. */
  async #serve(acceptor: TlsAcceptor, isOvertaken: boolean): Promise<void> {
    const { starter } = this.#context;
    const port = this.#port;
    const hasServed = acceptor === port.serving.acceptor;
    if (hasServed && port.isLost) return port.listen(acceptor);
    const needsProof = (!hasServed || port.serving.phase === "exhausted") && !isOvertaken;
    const next = needsProof ? await starter.startProved(acceptor) : starter.start(acceptor, LOOPBACK);
    if (this.#isStopped || acceptor !== this.#context.newest()) return starter.discard(next);
    if (!port.isLost) return port.handOver(next);
    starter.discard(next);
    port.listen(acceptor);
  }

  #succeeded(): void {
    this.#failed = undefined;
    this.#retry.reset();
  }

  #fail(acceptor: TlsAcceptor, error: unknown): void {
    if (this.#isStopped) return;
    if (this.#failed !== acceptor) this.#context.report(servingError(acceptor, error));
    this.#failed = acceptor;
    if (acceptor !== this.#port.serving.acceptor) this.#resume();
    this.#retry.schedule();
  }

  /**
   * Lets the previous configuration serve, unless that would let in a client whom the newest refuses.
   *
   * @returns Whether it serves.
   */
  #resume(): boolean {
    const { acceptor } = this.#port.serving;
    if (takesTrustAway(acceptor.config, this.#context.newest().config)) return false;
    try {
      this.#port.restore();
      return true;
    } catch (error) {
      this.#context.report(servingError(acceptor, error));
      return false;
    }
  }

  #limitPark(): void {
    if (!this.#port.isParked || !this.#resume()) return;
    this.#context.report(servingError(this.#context.newest(), `its server takes more than ${PARK_LIMIT_MS} ms`));
  }
}
