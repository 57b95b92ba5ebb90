import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import type { Generation } from "./native_server.ts";

/** Serves the connections of one generation behind a front. */
export interface Backend<Server> {
  /** The native server behind the front. */
  readonly server: Server;
  /** Takes over an accepted connection. */
  serve(client: Socket): void;
  /** Refuses connections that do not come through the front. Called when the state holds a newer configuration. */
  refuseDirectConnections?(): void;
  /** Called when newer connections go to another generation and the last one of this generation has ended. */
  stop?(): void;
}

/** One backend and its connections. */
export class RunningGeneration<Server> implements Generation {
  readonly generation: number;
  readonly backend: Backend<Server>;
  readonly clients = new Set<Socket>();
  drainTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(generation: number, backend: Backend<Server>) {
    this.generation = generation;
    this.backend = backend;
  }

  get connections(): number {
    return this.clients.size;
  }
}

/**
 * The generations of a front, oldest first. The last one serves: it gets each new connection. A generation is stopped
 * once and removed, as soon as it neither serves nor holds a connection.
 */
export class RunningGenerations<Server> {
  readonly #running = new Set<RunningGeneration<Server>>();
  readonly #drainTimeoutMs: number;
  readonly #onStopped: () => void;
  #serving: RunningGeneration<Server>;
  #isClosed = false;

  constructor(first: RunningGeneration<Server>, drainTimeoutMs: number, onStopped: () => void) {
    this.#serving = first;
    this.#running.add(first);
    this.#drainTimeoutMs = drainTimeoutMs;
    this.#onStopped = onStopped;
  }

  get serving(): RunningGeneration<Server> {
    return this.#serving;
  }

  get size(): number {
    return this.#running.size;
  }

  [Symbol.iterator](): Iterator<RunningGeneration<Server>> {
    return this.#running.values();
  }

  /** Makes a newer generation serve, and lets the previous one drain. */
  replaceServing(next: RunningGeneration<Server>): void {
    const previous = this.#serving;
    this.#serving = next;
    this.#running.add(next);
    if (previous.clients.size > 0 && this.#drainTimeoutMs < Infinity) {
      previous.drainTimer = setTimeout(() => destroyAll(previous.clients), this.#drainTimeoutMs).unref();
    }
    this.#stopIfUnused(previous);
    this.#stopIfUnused(next);
  }

  /** Forgets a connection that was closed. */
  remove(client: Socket): void {
    for (const running of this.#running) {
      if (running.clients.delete(client)) return this.#stopIfUnused(running);
    }
  }

  /** Stops each generation when its last connection has ended. */
  close(): void {
    this.#isClosed = true;
    for (const running of this.#running) this.#stopIfUnused(running);
  }

  /** Closes every connection. */
  destroyConnections(): void {
    for (const { clients } of this.#running) destroyAll(clients);
  }

  #stopIfUnused(running: RunningGeneration<Server>): void {
    const isServing = running === this.#serving && !this.#isClosed;
    if (isServing || running.clients.size > 0 || !this.#running.delete(running)) return;
    clearTimeout(running.drainTimer);
    running.backend.stop?.();
    this.#onStopped();
  }
}

/** Destroys sockets. */
export function destroyAll(sockets: Iterable<Socket>): void {
  for (const socket of sockets) socket.destroy();
}
