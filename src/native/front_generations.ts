import type { Socket } from "node:net";
import { Drain, type Drainable } from "../accept/drain.ts";
import { type DrainLimits, drainLimits, type DrainPolicy } from "../accept/drain_options.ts";
import type { LivePolicy, UsedConfig } from "../accept/live_connections.ts";
import { takesTrustAway } from "../accept/trust.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { Generation } from "./native_server.ts";

/** Serves the connections of one generation behind a front. */
export interface Backend<Server> {
  /** The native server behind the front. */
  readonly server: Server;
  /** Takes over an accepted connection. */
  serve(client: Socket): void;
  /** Refuses connections that do not come through the front. Called when the state holds a newer configuration. */
  refuseDirectConnections?(): void;
  /** Whether the backend judges its clients itself, so that a swap that takes trust away ends no others. */
  readonly knowsClients?: boolean | undefined;
  /** Begins to end its connections gently, as far as it can. Called once. Those that are left are destroyed. */
  endConnections?(limits: DrainLimits): void;
  /** Refuses every request from now on, see {@linkcode NativeServer.refuseRequests}. */
  refuseRequests?(): void;
  /** Called when newer connections go to another generation and the last one of this generation has ended. */
  stop?(): void;
}

/** One backend and its connections. */
export class FrontGeneration<Server> implements Generation {
  readonly config: TlsConfig;
  readonly generation: number;
  readonly backend: Backend<Server>;
  readonly clients = new Set<Socket>();
  isDraining = false;

  constructor({ config, generation }: UsedConfig, backend: Backend<Server>) {
    this.config = config;
    this.generation = generation;
    this.backend = backend;
  }

  get connections(): number {
    return this.clients.size;
  }
}

/**
 * The generations of a front, oldest first.
 *
 * Invariant: the last one serves, and gets each new connection. A generation is stopped once and removed, as soon as it
 * neither serves nor holds a connection.
 */
export class FrontGenerations<Server> {
  readonly #all = new Set<FrontGeneration<Server>>();
  readonly #policy: DrainPolicy;
  readonly #drain: Drain<RelayedClient>;
  /** The clients that a drain has begun to end: a later one may end them earlier. */
  readonly #drained = new WeakMap<Socket, RelayedClient>();
  readonly #onStopped: () => void;
  #serving: FrontGeneration<Server>;
  #isClosed = false;

  constructor(
    first: FrontGeneration<Server>,
    { drain, drainTally }: Pick<LivePolicy, "drain" | "drainTally">,
    onStopped: () => void,
  ) {
    this.#serving = first;
    this.#all.add(first);
    this.#policy = drain;
    this.#drain = new Drain(drainTally);
    this.#onStopped = onStopped;
  }

  get serving(): FrontGeneration<Server> {
    return this.#serving;
  }

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): Iterator<FrontGeneration<Server>> {
    return this.#all.values();
  }

  /** Makes a newer generation serve, and lets the previous one drain. */
  replaceServing(next: FrontGeneration<Server>): void {
    const previous = this.#serving;
    this.#serving = next;
    this.#all.add(next);
    this.#drainReplaced(previous, next.config);
    this.#stopIfUnused(previous);
    this.#stopIfUnused(next);
  }

  /** The state has another configuration, by which clients of these generations may be refused. */
  drainUntrusted(config: TlsConfig): void {
    for (const generation of this.#all) {
      if (!isUntrusted(generation, config)) continue;
      generation.backend.refuseRequests?.();
      this.#drainReplaced(generation, config);
    }
  }

  /** Forgets a connection that was closed. */
  remove(client: Socket): void {
    for (const generation of this.#all) {
      if (generation.clients.delete(client)) return this.#stopIfUnused(generation);
    }
  }

  /** Stops each generation when its last connection has ended. */
  close(): void {
    this.#isClosed = true;
    for (const generation of this.#all) this.#stopIfUnused(generation);
  }

  /** Closes every connection. */
  destroyConnections(): void {
    for (const { clients } of this.#all) destroyAll(clients);
  }

  #drainReplaced(generation: FrontGeneration<Server>, config: TlsConfig): void {
    const limits = drainLimits(this.#policy, isUntrusted(generation, config));
    if (!limits) return;
    if (!generation.isDraining) generation.backend.endConnections?.(limits);
    generation.isDraining = true;
    this.#drain.begin([...generation.clients].map((client) => this.#relayed(client)), limits);
  }

  #relayed(client: Socket): RelayedClient {
    const relayed = this.#drained.get(client) ?? new RelayedClient(client, this.#drain);
    this.#drained.set(client, relayed);
    return relayed;
  }

  #stopIfUnused(generation: FrontGeneration<Server>): void {
    const isServing = generation === this.#serving && !this.#isClosed;
    if (isServing || generation.clients.size > 0 || !this.#all.delete(generation)) return;
    generation.backend.stop?.();
    this.#onStopped();
  }
}

/** A client of a front, to which the front itself says nothing. */
class RelayedClient implements Drainable {
  readonly #client: Socket;

  constructor(client: Socket, drain: Drain<RelayedClient>) {
    this.#client = client;
    client.once("close", () => drain.forget(this));
  }

  endGently(): void {}

  destroy(): void {
    this.#client.destroy();
  }
}

function isUntrusted<Server>({ config, backend }: FrontGeneration<Server>, next: TlsConfig): boolean {
  return !backend.knowsClients && takesTrustAway(config, next);
}

/** Destroys sockets. */
export function destroyAll(sockets: Iterable<Socket>): void {
  for (const socket of sockets) socket.destroy();
}
