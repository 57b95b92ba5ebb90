import { clearTimeout, setTimeout } from "node:timers";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { takesTrustAway } from "../accept/trust.ts";
import { type Attempted, Attempts } from "./attempts.ts";
import { LOOPBACK, type NativeServer } from "./native_server.ts";
import type { PublicPort } from "./public_port.ts";
import type { ServerStarter } from "./server_starter.ts";
import { servingError } from "./serving_error.ts";

/** The longest that connections wait for a configuration, if the previous one may serve them. */
const PARK_LIMIT_MS = 1_000;

/** The source of a {@linkcode HandoffSuccession}. */
export interface HandoffSuccessionSource {
  /** The configuration that is to serve. */
  newest(): TlsAcceptor;
  /** Reports an error. */
  report(error: unknown): void;
}

/**
 * Makes the newest configuration serve a port.
 *
 * Invariant: no server accepts from a swap on, until a server of the newest configuration has proved itself and got the
 * port. A server that is not of the newest by then never gets the port. If the start fails, the previous server serves
 * on, unless that would let in a client on trust that was taken away.
 */
export class HandoffSuccession<Server extends NativeServer> implements Attempted {
  readonly #port: PublicPort<Server>;
  readonly #starter: ServerStarter<Server>;
  readonly #source: HandoffSuccessionSource;
  readonly #attempts = new Attempts(this);
  #limitTimer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  constructor(port: PublicPort<Server>, starter: ServerStarter<Server>, source: HandoffSuccessionSource) {
    this.#port = port;
    this.#starter = starter;
    this.#source = source;
  }

  /** The attempt that is under way. */
  get running(): Promise<void> | undefined {
    return this.#attempts.running;
  }

  /** There is a new configuration. */
  swapped(): void {
    if (!this.#port.isParked && !this.#port.isLost) {
      this.#port.park(this.newest);
      clearTimeout(this.#limitTimer);
      this.#limitTimer = setTimeout(() => this.#limitPark(), PARK_LIMIT_MS).unref();
    }
    this.#attempts.restart();
  }

  /** The port needs another server of the newest configuration. */
  renew(): void {
    this.#attempts.begin();
  }

  /** Ends: no attempt begins any more. */
  stop(): void {
    this.#isStopped = true;
    this.#attempts.stop();
    clearTimeout(this.#limitTimer);
  }

  get newest(): TlsAcceptor {
    return this.#source.newest();
  }

  isServedBy(acceptor: TlsAcceptor): boolean {
    return this.#port.isServedBy(acceptor);
  }

  async serve(acceptor: TlsAcceptor, isOvertaken: boolean): Promise<void> {
    const hasServed = acceptor === this.#port.serving.acceptor;
    if (hasServed && this.#port.isLost) return this.#port.listen(acceptor);
    const needsProof = (!hasServed || this.#port.serving.phase === "exhausted") && !isOvertaken;
    const next = needsProof ? await this.#starter.startProved(acceptor) : this.#starter.start(acceptor, LOOPBACK);
    if (this.#isStopped || acceptor !== this.newest) return this.#starter.discard(next);
    if (!this.#port.isLost) return this.#port.handOver(next);
    this.#starter.discard(next);
    this.#port.listen(acceptor);
  }

  failed(acceptor: TlsAcceptor): void {
    if (acceptor !== this.#port.serving.acceptor) this.#resume();
  }

  report(error: unknown): void {
    this.#source.report(error);
  }

  /**
   * Lets the previous configuration serve, unless that would let in a client whom the newest refuses.
   *
   * @returns Whether it serves.
   */
  #resume(): boolean {
    const { acceptor } = this.#port.serving;
    if (takesTrustAway(acceptor.config, this.newest.config)) return false;
    try {
      this.#port.restore();
      return true;
    } catch (error) {
      this.report(servingError(acceptor, error));
      return false;
    }
  }

  #limitPark(): void {
    if (!this.#port.isParked || !this.#resume()) return;
    this.report(servingError(this.newest, `its server takes more than ${PARK_LIMIT_MS} ms`));
  }
}
