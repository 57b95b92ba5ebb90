import { kindInPlaceOf, requireType } from "../arguments.ts";
import { bareOptions, type TlsServerOptions } from "../config/server_options.ts";
import type { CertifiedKeyInit } from "../config/certified_key.ts";
import { requireConfig, requireOneKey, type TlsConfig } from "../config/tls_config.ts";
import { guarded } from "../warnings.ts";
import { AlpnChallenges } from "./alpn_challenges.ts";
import { type AuthorityStatus, AuthorityUse, type SwapOptions } from "./authority_use.ts";
import { DrainTally } from "./drain_tally.ts";
import type { Follower, TlsSwap } from "./follower.ts";
import type { Lineage } from "./handshake_server.ts";
import { createLineage } from "./lineage.ts";
import { type Generation, sumByGeneration } from "./live_connections.ts";
import { handshakesOf, TlsAcceptor } from "./tls_acceptor.ts";
import { type StateSettings, stateSettings, type TlsStateOptions } from "./tls_state_options.ts";
import { VerifiedClients } from "./verified_clients.ts";

/** The settings, counts, challenges and verified clients that a state and the servers that follow it share. */
export interface Shared extends StateSettings {
  readonly authorityUse: AuthorityUse;
  readonly drainTally: DrainTally;
  readonly challenges: AlpnChallenges;
  readonly verifiedClients: VerifiedClients;
}

/** The {@linkcode Shared} of a state. */
export let sharedBy: (state: TlsState) => Shared;

/** The generations that hold connections, of `acceptor()` and of all servers that follow a state, oldest first. */
export let allGenerations: (state: TlsState) => Generation[];

/** Makes a server follow a state, until the returned disposer is disposed of. */
export let addFollower: (state: TlsState, follower: Follower) => Disposable;

/**
 * The current TLS configuration of a server: one reference, replaced whole.
 *
 * A server keeps one state for its life and takes {@linkcode TlsState.acceptor} for each connection that it accepts;
 * the renewal hook calls {@linkcode TlsState.swap}. A swap closes nothing but what the option `drain` says:
 * connections and handshakes that have begun keep their configuration, and every connection accepted later gets the new
 * one. A client whose handshake spans a swap must satisfy the client authentication of both.
 *
 * Invariant: a reader sees one whole configuration, never parts of two. When `swap()` throws, nothing has changed.
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
  readonly #shared: Shared;
  readonly #lineage: Lineage;
  #acceptor: TlsAcceptor;
  readonly #followers = new Set<Follower>();
  readonly #listeners = new Set<{ readonly notify: (swap: TlsSwap) => void }>();

  static {
    sharedBy = (state) => state.#shared;
    allGenerations = (state) => {
      return sumByGeneration([state.generations, ...[...state.#followers].map(({ generations = [] }) => generations)]);
    };
    addFollower = (state, follower) => {
      state.#followers.add(follower);
      return { [Symbol.dispose]: () => void state.#followers.delete(follower) };
    };
  }

  /**
   * Makes a state.
   *
   * @param config The first configuration, generation 0.
   * @param options Who decides about clients, beside the configurations, and how many contexts are kept.
   * @throws {TypeError} If it is not a `TlsConfig`, or an option is unknown or is none of its allowed values.
   *
   * @example Let in the services of one trust domain
   * ```ts ignore
   * const state = new TlsState(config, {
   *   allowClient: ({ uris }) => uris.some((uri) => uri.startsWith("spiffe://example.org/")),
   * });
   * ```
   */
  constructor(config: TlsConfig, options: TlsStateOptions = {}) {
    requireConfig("make TlsState", config);
    const settings = stateSettings(options);
    const authorityUse = new AuthorityUse();
    authorityUse.follow(config);
    this.#shared = {
      ...settings,
      authorityUse,
      drainTally: new DrainTally(),
      challenges: new AlpnChallenges(),
      verifiedClients: new VerifiedClients(),
    };
    this.#lineage = createLineage(() => handshakesOf(this.#acceptor), this.#shared);
    this.#acceptor = new TlsAcceptor(config, 0, this.#lineage);
  }

  /** The current configuration. */
  current(): TlsConfig {
    return this.#acceptor.config;
  }

  /** Accepts the next connection: a snapshot that a later swap does not change. */
  acceptor(): TlsAcceptor {
    return this.#acceptor;
  }

  /** How many times the configuration has been replaced. */
  get generation(): number {
    return this.#acceptor.generation;
  }

  /** The generations that hold connections of `acceptor()` and the current one, oldest first. */
  get generations(): readonly Generation[] {
    return this.#lineage.connections.generations;
  }

  /**
   * The current configuration as the options of the runtimes' own servers, made afresh at each reading:
   * `Bun.serve({ tls })`, `https.createServer()`, `http2.createSecureServer()`, `tls.createServer()`.
   *
   * Such a server reads its options once. To change them later, see `@x/tls-reload/node`. The object holds the private
   * key and hides it when it is logged, alone or in a copy, but not from `structuredClone()` and `console.dir()`, which
   * ignore how an object shows itself.
   *
   * With `clientAuth.crl`, Node and Bun check the lists themselves, and refuse every client once one of them is past
   * its nextUpdate; `attach()` refuses the clients of that authority only.
   *
   * @throws {TlsReloadError} `UNSUPPORTED` if there are several certified keys, or unknown names are to be refused;
   * with `crl` or `requireCrl` on Deno, which ignores lists, for `staleCrl: "accept"`, and if an authority or an
   * intermediate has no list, because the runtime refuses all of its clients then. Give `attach()` a server without
   * `state.tls` there.
   */
  get tls(): TlsServerOptions {
    const { config } = this.#acceptor;
    const action = "give state.tls";
    const alternative = "use serve() or attach(), or tlsOptions() of ./bun";
    return bareOptions(config, requireOneKey(config, action, alternative), action);
  }

  /**
   * Makes a configuration current. Connections accepted after this call returns are served with it.
   *
   * @param next The new configuration.
   * @param options Which authorities must be unused.
   * @returns The previous configuration, so that a caller can swap it back in.
   * @throws {TypeError} If `next` is not a `TlsConfig`.
   * @throws {TlsReloadError} `UNSUPPORTED` if a server that follows the state cannot serve the new configuration; the
   * state and all of its servers keep the current one. With `expectUnused`, `AUTHORITY_IN_USE` if a client has used an
   * authority that `next` removes, and `UNSUPPORTED` if that cannot be known because a server that follows the state
   * does not show its clients, as `Bun.serve`. Then, too, nothing has changed.
   */
  swap(next: TlsConfig, options: SwapOptions = {}): TlsConfig {
    requireConfig("swap", next);
    this.#shared.authorityUse.requireExpected(next, options, this.#followers);
    for (const follower of this.#followers) follower.requireServable(next);
    const previous = this.#acceptor.config;
    const acceptor = new TlsAcceptor(next, this.#acceptor.generation + 1, this.#lineage);
    this.#acceptor = acceptor;
    this.#shared.authorityUse.follow(next);
    this.#lineage.servers.retain(next.certifiedKeys);
    this.#lineage.connections.swapped();
    const swap: TlsSwap = { config: next, previous, generation: acceptor.generation };
    const followers = [...this.#followers].map((follower) => () => guarded(() => follower.follow(swap)));
    const listeners = [...this.#listeners].map(({ notify }) => () => notify(swap));
    for (const notify of [...followers, ...listeners]) {
      // Code of the user has swapped again within a call, and all have been notified of the later generation.
      if (this.#acceptor !== acceptor) break;
      notify();
    }
    return previous;
  }

  /**
   * The client authorities of the current configuration, then those that the previous one had beside them, and how
   * clients use them: on connections of `acceptor()`, of `attach()`, of `listenTls()`, and of `serve()` on Deno.
   * Clients of `Bun.serve` are not shown, and not counted. What clients did before the state was made is not known.
   *
   * Where the runtime hides which authority has verified a client (Node 24.21 and 26.8 to 26.9, if an intermediate has
   * issued its certificate that is not listed in `clientAuth.intermediates`), the client counts for every authority.
   */
  authorities(): readonly AuthorityStatus[] {
    return this.#shared.authorityUse.status();
  }

  /**
   * Answers a challenge `tls-alpn-01` of ACME (RFC 8737): while the disposable lives, clients that offer `acme-tls/1`
   * alone and ask for the name get this certificate, on connections of `acceptor()` and of `attach()`. They never reach
   * the application: `accept()` rejects with `CHALLENGE_ANSWERED`. It needs no swap.
   *
   * @param name The name that is validated, or the IP address (RFC 8738).
   * @param certifiedKey The certificate that the ACME client has made for the challenge, and its key, in PEM.
   * @returns Ends the answers when disposed of.
   * @throws {TlsReloadError} `CONFIG_UNUSABLE` if the certificate is not for this name alone, `UNSUPPORTED` if a server
   * that follows the state cannot answer challenges, and what {@linkcode TlsConfig} throws for a certificate and a key.
   */
  answerAlpnChallenge(name: string, certifiedKey: CertifiedKeyInit): Disposable {
    requireType("answerAlpnChallenge()", "name", name, "a string");
    for (const follower of this.#followers) follower.requireAlpnChallenges?.();
    return this.#shared.challenges.answer(name, certifiedKey);
  }

  /**
   * Calls a function after each swap, before `swap()` returns. Generations arrive in their order. An error that a
   * listener throws is emitted as a process warning; it stops neither the swap nor another listener.
   *
   * @param listener Called with the swap. It is not awaited.
   * @returns Ends the subscription when disposed of.
   * @throws {TypeError} If the listener is not a function.
   */
  subscribe(listener: (swap: TlsSwap) => void): Disposable {
    requireType("subscribe()", "listener", listener, "a function");
    const subscription = { notify: (swap: TlsSwap) => guarded(() => listener(swap)) };
    this.#listeners.add(subscription);
    return { [Symbol.dispose]: () => void this.#listeners.delete(subscription) };
  }
}

/**
 * Refuses an argument that is not a state.
 *
 * @throws {TypeError} If it is none.
 */
export function requireState(action: string, state: unknown): void {
  if (state instanceof TlsState) return;
  const holder = state as { readonly state?: unknown } | null | undefined;
  const hint = holder?.state instanceof TlsState ? "; pass its 'state'" : "";
  // The result of reloadTls() that is not awaited has no state.
  const kind = state === undefined ? "undefined; is reloadTls() awaited?" : kindInPlaceOf(state, "TlsState");
  throw new TypeError(`Cannot ${action}: 'state' must be a TlsState: ${kind}${hint}`);
}
