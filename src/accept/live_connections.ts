import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import type { TLSSocket } from "node:tls";
import type { TlsConfig } from "../config/tls_config.ts";
import { MAX_MS } from "../durations.ts";
import type { AuthorityUse } from "./authority_use.ts";
import { type AllowClient, allowRefusal, type ClientCertificate, clientOf } from "./client_identity.ts";
import { type ClientVerification, resetConnection } from "./client_verification.ts";
import { Drain, type Drainable, inSlices } from "./drain.ts";
import { drainLimits, type DrainPolicy } from "./drain_options.ts";
import type { DrainTally } from "./drain_tally.ts";
import { endGently } from "./gentle_end.ts";
import { takesTrustAway } from "./trust.ts";

/** The connections of one configuration of a state. */
export interface Generation {
  /** Its number in the state. */
  readonly generation: number;
  /** How many connections it holds. */
  readonly connections: number;
}

/** Adds up the connections of several servers by their generations, oldest first. */
export function sumByGeneration(lists: readonly (readonly Generation[])[]): Generation[] {
  const counts = new Map<number, number>();
  for (const { generation, connections } of lists.flat()) {
    counts.set(generation, (counts.get(generation) ?? 0) + connections);
  }
  return [...counts].map(([generation, connections]) => ({ generation, connections }))
    .sort((one, other) => one.generation - other.generation);
}

/** The policy for connections that have been accepted. */
export interface LivePolicy {
  readonly drain: DrainPolicy;
  readonly endWithClientCertificate: boolean;
  readonly allowClient: AllowClient | undefined;
  /** Counts clients by their authorities; `undefined` for an acceptor without a state. */
  readonly authorityUse: AuthorityUse | undefined;
  /** Counts the connections that drains end; `undefined` for an acceptor without a state. */
  readonly drainTally: DrainTally | undefined;
}

/** One configuration, while it is used. */
export interface UsedConfig {
  readonly config: TlsConfig;
  readonly generation: number;
}

/** The configuration that is current now. */
export interface CurrentConfig extends UsedConfig {
  /** Judges its clients; `undefined` if it does not ask for certificates. */
  readonly verification: ClientVerification | undefined;
}

/**
 * The live connections of a server whose clients are known, by the generation in which they were accepted.
 *
 * Invariant: it holds the connections whose client was admitted and that have not closed. After a swap, each connection
 * of an older generation is judged by the configuration that is current when it is judged; no swap waits for that.
 */
export class LiveConnections {
  readonly #policy: LivePolicy;
  readonly #current: () => CurrentConfig;
  readonly #byGeneration = new Map<number, Set<LiveConnection>>();
  readonly #drain: Drain<LiveConnection>;
  #isSwapNoted = false;

  constructor(policy: LivePolicy, current: () => CurrentConfig) {
    this.#policy = policy;
    this.#current = current;
    this.#drain = new Drain(policy.drainTally);
  }

  /** The generations that hold connections and the current one, oldest first. */
  get generations(): readonly Generation[] {
    const counts = new Map([[this.#current().generation, 0]]);
    for (const [generation, { size }] of this.#byGeneration) counts.set(generation, size);
    return sumByGeneration([[...counts].map(([generation, connections]) => ({ generation, connections }))]);
  }

  /** Adds a connection whose client has entered. */
  add(secure: TLSSocket, used: UsedConfig): void {
    if (secure.destroyed) return;
    const connection = new LiveConnection(secure, used);
    const siblings = this.#byGeneration.get(used.generation);
    if (siblings) siblings.add(connection);
    else this.#byGeneration.set(used.generation, new Set([connection]));
    secure.once("close", () => this.#forget(connection));
    if (this.#policy.endWithClientCertificate) connection.endWithCertificate();
    // Its handshake has spanned a swap. The client has satisfied both configurations.
    if (used.generation < this.#current().generation) this.#drainAll([connection]);
  }

  /** The current configuration has replaced another one. */
  swapped(): void {
    if (this.#isSwapNoted || this.#byGeneration.size === 0 || this.#policy.drain.when === "never") return;
    this.#isSwapNoted = true;
    setImmediate(() => {
      this.#isSwapNoted = false;
      this.#drainReplaced();
    });
  }

  #forget(connection: LiveConnection): void {
    connection.forgetCertificate();
    this.#drain.forget(connection);
    const { generation } = connection.used;
    const siblings = this.#byGeneration.get(generation);
    if (siblings?.delete(connection) && siblings.size === 0) this.#byGeneration.delete(generation);
  }

  #drainReplaced(): void {
    const { config, generation: current } = this.#current();
    const replaced = [...this.#byGeneration].flatMap(([generation, siblings]) =>
      generation < current ? [[...siblings]] : []
    );
    const doubtful = replaced.filter(([first]) => takesTrustAway(first!.used.config, config)).flat();
    let untrusted = 0;
    const judge = (connection: LiveConnection) => {
      const isLive = this.#byGeneration.get(connection.used.generation)?.has(connection);
      if (!isLive || this.#mayStay(connection)) return;
      if (!this.#drain.forget(connection, "untrusted")) untrusted++;
      this.#forget(connection);
      connection.destroy();
    };
    inSlices(doubtful, judge, () => this.#policy.drainTally?.disconnect(untrusted));
    this.#drainAll(replaced.flat());
  }

  #drainAll(connections: Iterable<LiveConnection>): void {
    const limits = drainLimits(this.#policy.drain, false);
    if (limits) this.#drain.begin(connections, limits);
  }

  #mayStay({ client }: LiveConnection): boolean {
    const { verification } = this.#current();
    const { allowClient } = this.#policy;
    try {
      if (verification && verification.refusalOfAdmitted(client) !== undefined) return false;
      return !client || !allowClient || allowRefusal(client, allowClient) === undefined;
    } catch {
      return false;
    }
  }
}

/** One connection whose client has entered. */
class LiveConnection implements Drainable {
  readonly used: UsedConfig;
  readonly #secure: TLSSocket;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(secure: TLSSocket, used: UsedConfig) {
    this.#secure = secure;
    this.used = used;
  }

  get client(): ClientCertificate | undefined {
    return clientOf(this.#secure);
  }

  endGently(): void {
    endGently(this.#secure);
  }

  destroy(): void {
    resetConnection(this.#secure);
  }

  /** Disconnects the client when a certificate of its path expires. */
  endWithCertificate(): void {
    const { notAfter = Infinity } = this.client?.verification?.finding ?? {};
    if (notAfter === Infinity) return;
    const msLeft = Math.max(0, notAfter - Date.now());
    const wake = () => msLeft > MAX_MS ? this.endWithCertificate() : this.destroy();
    this.#timer = setTimeout(wake, Math.min(msLeft, MAX_MS)).unref();
  }

  forgetCertificate(): void {
    clearTimeout(this.#timer);
  }
}
