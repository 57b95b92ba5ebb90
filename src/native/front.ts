import { clearTimeout, setTimeout } from "node:timers";
import { requireMs } from "../durations.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsState } from "../accept/tls_state.ts";
import { warn } from "../warnings.ts";

/** A configuration that still serves connections. */
export interface Generation {
  /** Its number in the state. */
  readonly generation: number;
  /** How many connections it holds. */
  readonly connections: number;
}

/** What every server behind a front can be told beside its own options. */
export interface FrontOptions {
  /**
   * How long the connections of a replaced generation may go on before they are cut.
   *
   * @default {Infinity}
   */
  readonly drainTimeoutMs?: number | undefined;
  /**
   * Called with the error of a configuration that cannot serve, while the previous one goes on. It is tried again, with
   * growing pauses, until it serves or is replaced. By default the error becomes a process warning.
   */
  readonly onTlsError?: ((error: unknown) => void) | undefined;
}

/** Where the public listener is to stand. */
export interface FrontAddress {
  /** The address to listen on; all of the machine without it. */
  readonly hostname?: string | undefined;
  /** The port, 0 for one that is free. */
  readonly port: number;
  /** How many connections the system may queue. */
  readonly backlog?: number | undefined;
}

/** A connection that was accepted. */
export interface Client {
  /** Cuts it. */
  destroy(): void;
}

/** What the public listener tells the front. */
export interface ListenerEvents<C extends Client> {
  /** A connection has come; nothing is read from it before a backend serves it. */
  accepted(client: C): void;
  /** A connection has ended, whoever ended it. */
  closed(client: C): void;
  /** Something went wrong that concerns no connection. */
  failed(error: unknown): void;
}

/** The public listener. */
export interface PublicListener {
  /** Where it listens. */
  readonly address: { readonly hostname: string; readonly port: number };
  /** Accepts no further connection. */
  close(): void;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
}

/** Opens the public listener, or rejects. */
export type Listen<C extends Client> = (events: ListenerEvents<C>) => PublicListener | Promise<PublicListener>;

/** What serves the connections of one generation. */
export interface Backend<C extends Client> {
  /** Takes over an accepted connection. */
  serve(client: C): void;
  /** Called when the state holds a newer configuration: whoever does not come through the front must be refused. */
  guard?(): void;
  /** Called when newer connections go elsewhere and the last one here has ended. */
  close?(): void;
}

/** Starts the backend of a generation and proves that it can serve, or rejects. */
export type StartBackend<C extends Client, B extends Backend<C>> = (acceptor: TlsAcceptor) => B | Promise<B>;

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;

/** A backend and what it holds. */
class Living<C extends Client, B extends Backend<C>> implements Generation {
  readonly clients = new Set<C>();
  readonly generation: number;
  readonly backend: B;
  drainTimer: ReturnType<typeof setTimeout> | undefined;
  isRetired = false;

  constructor(generation: number, backend: B) {
    this.generation = generation;
    this.backend = backend;
  }

  get connections(): number {
    return this.clients.size;
  }
}

/**
 * One public TCP listener in front of a native server, open for the server's whole life. What it accepts belongs to
 * the newest generation that has proved itself, and stays with it until it ends.
 */
export class Front<C extends Client, B extends Backend<C>> {
  readonly #state: TlsState;
  readonly #start: StartBackend<C, B>;
  readonly #drainTimeoutMs: number;
  readonly #report: (error: unknown) => void;
  readonly #living = new Set<Living<C, B>>();
  readonly #waiting = new Set<C>();
  readonly #finished = Promise.withResolvers<void>();
  #listener!: PublicListener;
  #subscription: Disposable | undefined;
  #serving: Living<C, B>;
  /** The newest generation that was tried, whatever came of it. */
  #tried: number;
  #attempt: Promise<void> | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #retryMs = FIRST_RETRY_MS;
  #isClosed = false;

  private constructor(state: TlsState, start: StartBackend<C, B>, options: FrontOptions, first: Living<C, B>) {
    this.#state = state;
    this.#start = start;
    this.#drainTimeoutMs = options.drainTimeoutMs ?? Infinity;
    this.#report = reporter(options);
    this.#tried = first.generation;
    this.#serving = first;
    this.#living.add(first);
  }

  /**
   * Starts the first generation, then listens. Rejects if either fails, and leaves nothing open.
   *
   * @param state What to serve with.
   * @param driver How to listen, and what to start for each generation.
   * @param options What to do with old generations and with those that do not start.
   */
  static async open<C extends Client, B extends Backend<C>>(
    state: TlsState,
    driver: { readonly listen: Listen<C>; readonly start: StartBackend<C, B> },
    options: FrontOptions = {},
  ): Promise<Front<C, B>> {
    const { drainTimeoutMs = Infinity } = options;
    requireMs("drainTimeoutMs", drainTimeoutMs);
    const acceptor = state.acceptor();
    const first = new Living<C, B>(acceptor.generation, await driver.start(acceptor));
    const front = new Front(state, driver.start, options, first);
    try {
      front.#listener = await driver.listen({
        accepted: (client) => front.#accept(client),
        closed: (client) => front.#forget(client),
        failed: (error) => front.#report(error),
      });
    } catch (error) {
      first.backend.close?.();
      throw error;
    }
    front.#subscription = state.subscribe(() => front.#advance());
    front.#advance();
    return front;
  }

  /** Where it listens. */
  get address(): { readonly hostname: string; readonly port: number } {
    return this.#listener.address;
  }

  /** The generations that hold connections, the oldest first, and at the end the one that gets the next connection. */
  get generations(): Generation[] {
    return [...this.#living].map(({ generation, connections }) => ({ generation, connections }));
  }

  /** The backends of these generations. */
  get backends(): B[] {
    return [...this.#living].map(({ backend }) => backend);
  }

  /** The backend that gets the next connection. */
  get serving(): B {
    return this.#serving.backend;
  }

  /** The connections of these generations. */
  get clients(): C[] {
    return [...this.#living].flatMap(({ clients }) => [...clients]);
  }

  /** Resolves when it has been closed and the last connection has ended. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Accepts no further connection. Those that are open go on. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#subscription?.[Symbol.dispose]();
    clearTimeout(this.#retryTimer);
    this.#listener.close();
    cut(this.#waiting);
    this.#waiting.clear();
    for (const living of this.#living) this.#release(living);
  }

  /** Closes, and cuts every connection. */
  destroy(): void {
    this.close();
    for (const { clients } of this.#living) cut(clients);
  }

  /** Keeps the process running, as it does from the start. */
  ref(): void {
    this.#listener.ref();
  }

  /** No longer keeps the process running. */
  unref(): void {
    this.#listener.unref();
  }

  #accept(client: C): void {
    // Without a swap there is no promise in the path of a connection.
    if (this.#tried >= this.#state.generation) return this.#serve(client);
    this.#waiting.add(client);
    this.#tryUpTo(this.#state.generation).then(() => {
      if (this.#waiting.delete(client)) this.#serve(client);
    });
  }

  #serve(client: C): void {
    const { clients, backend } = this.#serving;
    clients.add(client);
    try {
      backend.serve(client);
    } catch (error) {
      client.destroy();
      this.#report(error);
    }
  }

  #forget(client: C): void {
    this.#waiting.delete(client);
    for (const living of this.#living) {
      if (living.clients.delete(client)) return this.#release(living);
    }
  }

  async #tryUpTo(generation: number): Promise<void> {
    while (this.#tried < generation && this.#attempt) await this.#attempt;
  }

  /** Tries the newest generation, and again what has become the newest meanwhile. */
  #advance(): void {
    if (this.#isClosed || this.#tried >= this.#state.generation) return;
    this.#retryMs = FIRST_RETRY_MS;
    this.#try();
    this.#serving.backend.guard?.();
  }

  #try(): void {
    clearTimeout(this.#retryTimer);
    this.#attempt ??= this.#startNewest().then(() => {
      this.#attempt = undefined;
      this.#advance();
      this.#finish();
    });
  }

  async #startNewest(): Promise<void> {
    const acceptor = this.#state.acceptor();
    try {
      const backend = await this.#start(acceptor);
      const previous = this.#serving;
      this.#living.add(this.#serving = new Living(acceptor.generation, backend));
      this.#retire(previous);
      this.#release(this.#serving);
    } catch (error) {
      if (this.#tried < acceptor.generation) this.#report(error);
      if (!this.#isClosed) this.#retry();
    }
    this.#tried = acceptor.generation;
  }

  /** What could not start for want of a file descriptor or a port can do so later. */
  #retry(): void {
    this.#retryTimer = setTimeout(() => this.#try(), this.#retryMs).unref();
    this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
  }

  #retire(living: Living<C, B>): void {
    living.isRetired = true;
    if (living.clients.size > 0 && this.#drainTimeoutMs < Infinity) {
      living.drainTimer = setTimeout(() => cut(living.clients), this.#drainTimeoutMs).unref();
    }
    this.#release(living);
  }

  #release(living: Living<C, B>): void {
    if (living.clients.size > 0 || !(living.isRetired || this.#isClosed)) return;
    if (!this.#living.delete(living)) return;
    clearTimeout(living.drainTimer);
    living.backend.close?.();
    this.#finish();
  }

  #finish(): void {
    if (this.#isClosed && this.#living.size === 0 && !this.#attempt) this.#finished.resolve();
  }
}

/** How errors are reported. */
export function reporter({ onTlsError = warn }: FrontOptions): (error: unknown) => void {
  // What it throws is not ours to catch, and must not keep a connection waiting.
  return (error) => queueMicrotask(() => onTlsError(error));
}

function cut(clients: Iterable<Client>): void {
  for (const client of clients) client.destroy();
}
