import { TlsAcceptor } from "./tls_acceptor.ts";
import { type TlsConfig, tlsOptions, type TlsServerOptions } from "../config/tls_config.ts";
import { warn } from "../warnings.ts";

/** What a listener of {@linkcode TlsState.subscribe} is told about a swap. */
export interface TlsSwap {
  /** The configuration that is current now. */
  readonly config: TlsConfig;
  /** The one that was until now. */
  readonly previous: TlsConfig;
  /** The number of the new generation. */
  readonly generation: number;
}

/** A server that serves with the configurations of a state. */
export interface Follower {
  /**
   * Called before a swap changes anything. Throws `UNSUPPORTED` if the server cannot serve the next configuration; then
   * `swap()` throws the same error, and nothing has changed.
   */
  requireServable(next: TlsConfig): void;
  /** Called after the state has changed, before `swap()` returns and before the listeners of `subscribe()`. */
  follow(swap: TlsSwap): void;
}

/** Makes a server follow a state, until the returned disposer is disposed of. */
export let addFollower: (state: TlsState, follower: Follower) => Disposable;

/**
 * The current TLS configuration of a server: one reference, replaced whole.
 *
 * The server keeps one state for its life and takes {@linkcode TlsState.acceptor} for each connection that it
 * accepts; whatever renews the certificate calls {@linkcode TlsState.swap}. A swap closes nothing: connections and
 * handshakes that have begun keep what they began with, and every connection accepted after it gets the new
 * configuration.
 *
 * @example
 * ```ts
 * import net from "node:net";
 * import process from "node:process";
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * process.on("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * net.createServer((socket) => {
 *   state.acceptor().accept(socket).then((secure) => secure.end("hello\n"), console.warn);
 * }).listen(8443);
 * ```
 */
export class TlsState {
  #acceptor: TlsAcceptor;
  readonly #followers = new Set<Follower>();
  readonly #listeners = new Set<{ readonly notify: (swap: TlsSwap) => void }>();

  static {
    addFollower = (state, follower) => {
      state.#followers.add(follower);
      return { [Symbol.dispose]: () => void state.#followers.delete(follower) };
    };
  }

  /**
   * Makes a state.
   *
   * @param config What to serve first, as generation 0.
   */
  constructor(config: TlsConfig) {
    this.#acceptor = new TlsAcceptor(config, 0);
  }

  /** The current configuration. */
  current(): TlsConfig {
    return this.#acceptor.config;
  }

  /** What to accept the next connection with: a snapshot that a later swap does not change. */
  acceptor(): TlsAcceptor {
    return this.#acceptor;
  }

  /** How many times the configuration has been replaced. */
  get generation(): number {
    return this.#acceptor.generation;
  }

  /**
   * The current configuration as the options of the runtimes' own servers, made afresh at each reading:
   * `Bun.serve({ tls })`, `https.createServer()`, `http2.createSecureServer()`, `tls.createServer()`.
   *
   * Such a server reads its options once. To change them later, see `@x/tls-reload/node`. The object holds the
   * private key, which is hidden when it is logged, alone or in a copy; not from `structuredClone()`, nor from
   * `console.dir()`, which passes over what an object shows of itself.
   */
  get tls(): TlsServerOptions {
    return tlsOptions(this.#acceptor.config);
  }

  /**
   * Makes a configuration current. Connections accepted after this call returns are served with it.
   *
   * @param next The new configuration.
   * @returns The previous one, to be swapped back in if need be.
   * @throws {TlsReloadError} `UNSUPPORTED` if a server that follows the state cannot serve the new configuration; the
   * state and all of its servers keep the current one.
   */
  swap(next: TlsConfig): TlsConfig {
    for (const follower of this.#followers) follower.requireServable(next);
    const previous = this.#acceptor.config;
    const acceptor = this.#acceptor = new TlsAcceptor(next, this.#acceptor.generation + 1);
    const swap: TlsSwap = { config: next, previous, generation: acceptor.generation };
    for (const follower of [...this.#followers]) guarded(() => follower.follow(swap));
    for (const listener of [...this.#listeners]) {
      // A listener may have swapped again: all of them have been notified of the later generation by then.
      if (this.#acceptor !== acceptor) break;
      listener.notify(swap);
    }
    return previous;
  }

  /**
   * Calls a function after each swap, before `swap()` returns. Generations arrive in their order. What a listener
   * throws is reported as a process warning; it stops neither the swap nor another listener.
   *
   * @param listener Called with the swap. It is not waited for.
   * @returns Ends the subscription when disposed of.
   */
  subscribe(listener: (swap: TlsSwap) => void): Disposable {
    const subscription = { notify: (swap: TlsSwap) => guarded(() => listener(swap)) };
    this.#listeners.add(subscription);
    return { [Symbol.dispose]: () => void this.#listeners.delete(subscription) };
  }
}

/** Reports an error as a process warning, so that it stops neither the swap nor another listener. */
function guarded(call: () => unknown): void {
  try {
    const result = call();
    if (result instanceof Promise) result.catch(warn);
  } catch (error) {
    warn(error);
  }
}
