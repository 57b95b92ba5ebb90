import { drainLimits, type DrainPolicy } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { takesTrustAway } from "../accept/trust.ts";
import type { Listener } from "../kernel/listener.ts";
import { guarded } from "../warnings.ts";
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
  connections = 0;
  /** Descriptors of connections that it had when they were counted. */
  witnesses: readonly number[] = [];
  #isDraining = false;

  constructor(acceptor: TlsAcceptor, server: Server, listener: Listener, mark: number) {
    this.acceptor = acceptor;
    this.server = server;
    this.listener = listener;
    this.port = server.port;
    this.marks = new Set([mark]);
  }

  /** Its connections end, unless they are ending earlier. */
  drain(policy: DrainPolicy, newest: TlsAcceptor): void {
    if (this.server.knowsClients) return;
    const limits = drainLimits(policy, takesTrustAway(this.acceptor.config, newest.config));
    if (!limits) return;
    if (!this.#isDraining) guarded(() => this.server.endConnections?.(limits));
    this.#isDraining = true;
    this.forcedAt = Math.min(this.forcedAt, performance.now() + limits.forceMs);
  }

  /** It may get connections that carry these marks. */
  own(marks: Iterable<number>): void {
    for (const mark of marks) this.marks.add(mark);
  }
}
