import type { DrainLimits } from "../accept/drain_options.ts";
import type { DrainTally } from "../accept/drain_tally.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { Listener } from "../kernel/listener.ts";
import { guarded } from "../warnings.ts";
import { CountedDrain } from "./counted_drain.ts";
import type { NativeServer } from "./native_server.ts";

/**
 * One configuration's native server, and the marks that its connections may carry.
 *
 * Invariant: the set of marks only grows, and its drain begins once.
 */
export class HandoffGeneration<Server extends NativeServer> {
  readonly acceptor: TlsAcceptor;
  readonly server: Server;
  readonly listener: Listener;
  /** The port on which the server started: its first connections have it. */
  readonly port: number;
  readonly marks: Set<number>;
  /** When its connections end by force, once a newer generation has the public socket. */
  forcedAt = Infinity;
  /** Whether the server may go on accepting; "gave up" has ended by itself, but not closed its listener. */
  phase: "running" | "exhausted" | "gave up" | "ended" = "running";
  #connections = 0;
  #witnesses: readonly number[] = [];
  #drain: CountedDrain | undefined;

  constructor(acceptor: TlsAcceptor, server: Server, listener: Listener, mark: number) {
    this.acceptor = acceptor;
    this.server = server;
    this.listener = listener;
    this.port = server.port;
    this.marks = new Set([mark]);
  }

  /** How many connections it had when they were counted. */
  get connections(): number {
    return this.#connections;
  }

  /** Descriptors of some of them. */
  get witnesses(): readonly number[] {
    return this.#witnesses;
  }

  /** Its connections have been counted. */
  counted(connections: number, witnesses: readonly number[]): void {
    this.#connections = connections;
    this.#witnesses = witnesses;
    this.#drain?.found(connections);
  }

  /** Its connections end, unless they are ending earlier. */
  drain(limits: DrainLimits, tally: DrainTally): void {
    this.forcedAt = Math.min(this.forcedAt, performance.now() + limits.forceMs);
    if (this.#drain) return;
    this.#drain = new CountedDrain(tally);
    this.#drain.found(this.#connections);
    guarded(() => this.server.endConnections?.(limits));
  }

  /** Its connections that are left are ended by force. */
  forceDrain(): void {
    this.#drain?.force();
  }

  /** It may get connections that carry these marks. */
  own(marks: Iterable<number>): void {
    for (const mark of marks) this.marks.add(mark);
  }
}
