import { clearTimeout, setTimeout } from "node:timers";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { Follower, TlsState } from "../accept/tls_state.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { requireMs } from "../durations.ts";
import { TlsReloadError } from "../errors.ts";
import { unsupported } from "../unsupported.ts";
import { messageOf, warn } from "../warnings.ts";
import { Drain } from "./drain.ts";
import { Generations, type RunningGeneration } from "./generations.ts";
import { ListenerGoneError } from "./listener.ts";
import type { Generation, ListenAddress, NativeRuntime, NativeServer, ServingGenerations } from "./native_server.ts";
import { type HandoffTools, PublicSocket } from "./public_socket.ts";
import { Retry } from "./retry.ts";
import { LOOPBACK, ServerStarter } from "./server_starter.ts";
import { takesTrustAway } from "./trust.ts";

/** What a handoff takes beside where to listen. */
export interface HandoffOptions {
  /**
   * How long the connections of a replaced generation may continue. Connections that are still open then are closed.
   *
   * @default {Infinity}
   */
  readonly drainTimeoutMs?: number | undefined;
  /**
   * Called with the error of a configuration that cannot serve. It is retried, with growing pauses, until it serves or
   * is replaced.
   *
   * @default Emits a process warning.
   */
  readonly onTlsError?: ((error: unknown) => void) | undefined;
}

/** What a handoff serves with. */
export interface HandoffSetting<Server extends NativeServer> {
  /** The state that it follows. */
  readonly state: TlsState;
  /** Makes it follow the state. After a hot reload, the state is of another copy of its class. */
  readonly follow: (follower: Follower) => Disposable;
  /** The runtime that starts the servers. */
  readonly runtime: NativeRuntime<Server>;
  /** What to do with old generations and with those that do not start. */
  readonly options: HandoffOptions;
}

/** For a duplicate of the public socket, the next server, and its proof. */
const NEEDED_DESCRIPTORS = 8;
/** The longest that connections wait for a configuration, if the previous one may serve them. */
const PARK_LIMIT_MS = 1_000;
/** For how long swaps may overtake the proof of the one before; then the newest serves without. */
const OVERTAKEN_LIMIT_MS = 500;

/**
 * The native servers of all generations, which hand one public socket on.
 *
 * A swap parks the public socket before `swap()` returns: from then on no server accepts with the previous
 * configuration. The newest configuration gets a server, and the socket once that has proved itself; a server that is
 * not of the newest by then is stopped and never gets it. If it fails, the previous server gets the socket back, and the
 * newest configuration is retried beside it, unless that would let in a client on trust that was taken away: then the
 * socket stays parked. There is at most one attempt at a time, and one timer for the next.
 */
export class Handoff<Server extends NativeServer> implements ServingGenerations<Server> {
  readonly mechanism = "handoff";
  readonly mechanismReason: string;
  readonly #tools: HandoffTools;
  readonly #generations: Generations<Server>;
  readonly #starter: ServerStarter<Server>;
  readonly #retry = new Retry(() => this.#advance());
  #setting: HandoffSetting<Server>;
  #subscription: Disposable | undefined;
  #listenAddress: ListenAddress;
  #address: { readonly hostname: string; readonly port: number } = { hostname: "", port: 0 };
  /** `undefined` while none listens, because a server has ended by itself. */
  #public: PublicSocket | undefined;
  #attempt: Promise<void> | undefined;
  /** The configuration whose failure was reported. */
  #failed: TlsAcceptor | undefined;
  #limitTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #closed = Promise.withResolvers<void>();
  #isClosed = false;

  private constructor(tools: HandoffTools, reason: string, address: ListenAddress, setting: HandoffSetting<Server>) {
    this.#tools = tools;
    this.mechanismReason = reason;
    this.#listenAddress = address;
    this.#setting = setting;
    this.#generations = new Generations(tools, drainOf(setting), (error) => this.#report(error));
    this.#starter = new ServerStarter(tools, setting.runtime, {
      onEnded: (server, error) => this.#serverEnded(server, error),
      onExhausted: (server) => this.#serverExhausted(server),
    });
  }

  /**
   * Proves the current configuration, then listens. Rejects if either fails, and leaves nothing open.
   *
   * @param tools What the handoffs of this thread share.
   * @param reason Why the handoff is used.
   * @param address The public address.
   * @param setting What to serve with.
   */
  static async open<Server extends NativeServer>(
    tools: HandoffTools,
    reason: string,
    address: ListenAddress,
    setting: HandoffSetting<Server>,
  ): Promise<Handoff<Server>> {
    const handoff = new Handoff(tools, reason, address, setting);
    handoff.#listen(await proveCurrent(handoff.#starter, setting));
    handoff.#listenAddress = { ...address, port: handoff.address.port };
    handoff.#follow();
    return handoff;
  }

  /** Serves with another setting from now on, as after a swap. Rejects if that fails, and goes on with the previous. */
  async adopt(setting: HandoffSetting<Server>): Promise<void> {
    const drain = drainOf(setting);
    await proveCurrent(
      new ServerStarter(this.#tools, setting.runtime, { onEnded: () => {}, onExhausted: () => {} }),
      setting,
    );
    this.#subscription?.[Symbol.dispose]();
    this.#setting = setting;
    this.#starter.runtime = setting.runtime;
    this.#generations.drain = drain;
    this.#follow();
    this.#swapped();
    await this.#attempt;
  }

  get address(): { readonly hostname: string; readonly port: number } {
    return this.#address;
  }

  get generations(): readonly Generation[] {
    return this.#generations.counts();
  }

  get servers(): readonly Server[] {
    return this.#generations.list.map(({ server }) => server);
  }

  get finished(): Promise<void> {
    return this.#generations.finished.then(() => this.#attempt);
  }

  /** Resolves when it has stopped listening. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#subscription?.[Symbol.dispose]();
    this.#retry.reset();
    clearTimeout(this.#limitTimer);
    try {
      this.#public?.close();
    } catch (error) {
      // The port must be free, whatever becomes of the connections.
      this.#serving.server.stop();
      this.#report(typedError("Cannot stop listening without closing connections", error));
    }
    this.#generations.close();
    this.#closed.resolve();
  }

  destroy(): void {
    this.close();
    this.#generations.endAll();
  }

  ref(): void {
    this.#starter.ref();
  }

  unref(): void {
    this.#starter.unref();
  }

  #follow(): void {
    this.#subscription = this.#setting.follow({
      requireServable: (next) => this.#requireServable(next),
      follow: () => this.#swapped(),
    });
  }

  #report(error: unknown): void {
    const { onTlsError = warn } = this.#setting.options;
    queueMicrotask(() => onTlsError(error));
  }

  /** The generation that has the public socket, or had it last. */
  get #serving(): RunningGeneration<Server> {
    return this.#generations.list.at(-1)!;
  }

  /** The configuration that is to serve. */
  get #newest(): TlsAcceptor {
    return this.#setting.state.acceptor();
  }

  #requireServable(next: TlsConfig): void {
    this.#setting.runtime.requireServable(next);
    if (this.#tools.kernel.hasFree(NEEDED_DESCRIPTORS)) return;
    throw unsupported("swap", `it needs ${NEEDED_DESCRIPTORS} free file descriptors; raise the limit of the process`);
  }

  #swapped(): void {
    this.#retry.reset();
    this.#park();
    this.#advance();
  }

  /** Keeps the previous server from accepting, until the newest can. */
  #park(): void {
    const socket = this.#public;
    if (!socket || socket.isParked) return;
    try {
      socket.park();
    } catch (error) {
      this.#parkFailed(socket, error);
    }
    clearTimeout(this.#limitTimer);
    this.#limitTimer = setTimeout(() => this.#limitPark(), PARK_LIMIT_MS).unref();
  }

  #parkFailed(socket: PublicSocket, error: unknown): void {
    const serving = this.#serving;
    serving.own(socket.queued.all);
    this.#report(servingError(this.#newest, error));
    if (socket.isParked) return;
    const mustStop = takesTrustAway(serving.acceptor.config, this.#newest.config);
    // Nobody may get in on old trust, whatever becomes of the connections.
    if (mustStop) serving.server.stop();
    if (mustStop || error instanceof ListenerGoneError) this.#lose(socket);
  }

  #lose(socket: PublicSocket): void {
    socket.lose();
    this.#public = undefined;
  }

  #limitPark(): void {
    if (!this.#public?.isParked) return;
    if (this.#resume()) this.#report(servingError(this.#newest, `its server takes more than ${PARK_LIMIT_MS} ms`));
  }

  #advance(): void {
    this.#attempt ??= this.#serveNewest();
  }

  async #serveNewest(): Promise<void> {
    await undefined; // swaps of one turn end with the last of them
    const begin = performance.now();
    let acceptor = this.#newest;
    try {
      while (!this.#isClosed && !this.#isServedBy(acceptor)) {
        await this.#serve(acceptor, performance.now() - begin > OVERTAKEN_LIMIT_MS);
        acceptor = this.#newest;
      }
    } catch (error) {
      this.#fail(acceptor, error);
    } finally {
      // In the turn that found nothing to do: a swap right after it begins the next attempt.
      this.#attempt = undefined;
    }
  }

  #isServedBy(acceptor: TlsAcceptor): boolean {
    const { phase, acceptor: serving } = this.#serving;
    return this.#public?.isParked === false && phase === "running" && serving === acceptor;
  }

  async #serve(acceptor: TlsAcceptor, isOvertaken: boolean): Promise<void> {
    const hasServed = acceptor === this.#serving.acceptor;
    if (hasServed && !this.#public) return this.#listen(acceptor);
    const needsProof = (!hasServed || this.#serving.phase === "exhausted") && !isOvertaken;
    const next = needsProof ? await this.#starter.startProved(acceptor) : this.#starter.start(acceptor, LOOPBACK);
    if (this.#isClosed || acceptor !== this.#newest) return this.#starter.discard(next);
    if (this.#public) return this.#handOver(this.#public, next);
    this.#starter.discard(next);
    this.#listen(acceptor);
  }

  #listen(acceptor: TlsAcceptor): void {
    const generation = this.#starter.start(acceptor, this.#listenAddress);
    try {
      this.#public = new PublicSocket(this.#tools, generation.listener);
    } catch (error) {
      this.#starter.discard(generation);
      throw error;
    }
    this.#address = this.#public.address;
    this.#served(generation, this.#public);
  }

  #handOver(socket: PublicSocket, next: RunningGeneration<Server>): void {
    try {
      // A retry does not keep connections waiting while it may fail.
      if (!socket.isParked) socket.park();
      socket.handOver(next.listener);
    } catch (error) {
      this.#starter.discard(next);
      this.#serving.own(socket.queued.all);
      if (error instanceof ListenerGoneError && !socket.isParked) this.#lose(socket);
      throw error;
    }
    this.#served(next, socket);
  }

  #served(generation: RunningGeneration<Server>, socket: PublicSocket): void {
    clearTimeout(this.#limitTimer);
    this.#failed = undefined;
    this.#generations.add(generation, socket);
  }

  #fail(acceptor: TlsAcceptor, error: unknown): void {
    if (this.#isClosed) return;
    if (this.#failed !== acceptor) this.#report(servingError(acceptor, error));
    this.#failed = acceptor;
    if (acceptor !== this.#serving.acceptor) this.#resume();
    this.#retry.schedule();
  }

  /** Lets the previous configuration serve, if no client gets in by that who would not with the newest. */
  #resume(): boolean {
    const { acceptor } = this.#serving;
    if (takesTrustAway(acceptor.config, this.#newest.config)) return false;
    const failed = this.#failed;
    try {
      if (!this.#public) this.#listen(acceptor);
      else if (this.#public.isParked) this.#restore(this.#public, acceptor);
      return true;
    } catch (error) {
      this.#report(servingError(acceptor, error));
      return false;
    } finally {
      this.#failed = failed;
    }
  }

  #restore(socket: PublicSocket, acceptor: TlsAcceptor): void {
    try {
      socket.restore();
      this.#serving.own(socket.queued.all);
    } catch {
      // Its server has ended: another one of the same configuration takes its place.
    }
    if (socket.isParked || this.#serving.phase !== "running") {
      this.#handOver(socket, this.#starter.start(acceptor, LOOPBACK));
    }
  }

  #serverEnded(server: Server, error: unknown): void {
    const generation = this.#generations.list.find((each) => each.server === server);
    if (!generation) return;
    this.#generations.serverEnded(generation);
    if (this.#isClosed) return;
    if (error !== undefined) this.#report(error);
    const socket = this.#public;
    if (generation !== this.#serving || !socket || socket.isParked) return;
    if (socket.isHeld) {
      // Nothing in the queue is lost, and the server is still to be stopped.
      generation.phase = "gave up";
    } else this.#lose(socket);
    this.#advance();
  }

  /** The server accepts until another one of the same configuration does. */
  #serverExhausted(server: Server): void {
    if (this.#isClosed || server !== this.#serving.server || this.#serving.phase !== "running") return;
    this.#serving.phase = "exhausted";
    this.#advance();
  }
}

/** Completes a handshake with a server of the current configuration, until no swap has come between. */
async function proveCurrent<Server extends NativeServer>(
  starter: ServerStarter<Server>,
  { state, runtime }: HandoffSetting<Server>,
): Promise<TlsAcceptor> {
  for (;;) {
    const acceptor = state.acceptor();
    runtime.requireServable(acceptor.config);
    starter.discard(await starter.startProved(acceptor));
    if (acceptor === state.acceptor()) return acceptor;
  }
}

function drainOf({ options: { drainTimeoutMs = Infinity } }: { readonly options: HandoffOptions }): Drain {
  requireMs("drainTimeoutMs", drainTimeoutMs);
  return new Drain(drainTimeoutMs);
}

/** The errors of this module as they are, others with what they prevented. */
function typedError(action: string, error: unknown): TlsReloadError {
  if (error instanceof TlsReloadError) return error;
  const options = error instanceof Error ? { cause: error } : {};
  return new TlsReloadError("STALE_CERTIFICATE", `${action}: ${messageOf(error)}`, options);
}

function servingError({ generation }: TlsAcceptor, error: unknown): TlsReloadError {
  return typedError(`Cannot serve generation ${generation}`, error);
}
