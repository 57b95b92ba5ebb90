import type { Follower } from "../accept/follower.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { SocketAddress } from "../kernel/kernel.ts";
import { unsupported } from "../unsupported.ts";
import { HandoffGenerations, type HandoffPolicy } from "./handoff_generations.ts";
import { HandoffSuccession } from "./handoff_succession.ts";
import {
  type Generation,
  type ListenAddress,
  LOOPBACK,
  type NativeServer,
  type ServingGenerations,
} from "./native_server.ts";
import { PublicPort } from "./public_port.ts";
import type { HandoffTools } from "./public_socket.ts";
import { type ProofOptions, ServerStarter } from "./server_starter.ts";
import { errorReporter } from "./serving_errors.ts";
import type { ServingOptions } from "./serving_options.ts";

/** What a handoff does at a swap: a {@linkcode Follower} that looks at the state by itself. */
export interface HandoffFollower extends Pick<Follower, "requireServable" | "requireAlpnChallenges" | "hidesClients"> {
  follow(): void;
}

/** What a handoff serves, and how. */
export interface HandoffOptions<Server extends NativeServer>
  extends ProofOptions<Server>, HandoffPolicy, Pick<ServingOptions, "onTlsError"> {
  /** Makes it follow the state. */
  readonly follow: (follower: HandoffFollower) => Disposable;
}

/** For a duplicate of the public socket, the next server, and its proof. */
const NEEDED_DESCRIPTORS = 8;

/**
 * The native servers of all generations, which hand one public socket on.
 *
 * Invariant: a swap parks the public socket before `swap()` returns: from then on no server accepts with the previous
 * configuration. The newest configuration gets a server, and the socket once that has proved itself; a server that is
 * not of the newest by then is stopped and never gets it. If it fails, the previous server gets the socket back, and
 * the newest configuration is retried beside it, unless that would let in a client on trust that was taken away: then
 * the socket stays parked.
 */
export class Handoff<Server extends NativeServer> implements ServingGenerations<Server>, HandoffFollower {
  readonly mechanism = "handoff";
  readonly mechanismReason = "handoff: Linux with FFI";
  readonly hidesClients = true;
  readonly #tools: HandoffTools;
  readonly #generations: HandoffGenerations<Server>;
  readonly #starter: ServerStarter<Server>;
  readonly #port: PublicPort<Server>;
  readonly #succession: HandoffSuccession<Server>;
  #options: HandoffOptions<Server>;
  #following: Disposable | undefined;
  readonly #closed = Promise.withResolvers<void>();
  #isClosed = false;

  private constructor(tools: HandoffTools, address: ListenAddress, options: HandoffOptions<Server>) {
    this.#tools = tools;
    this.#options = options;
    const report = (error: unknown) => this.#report(error);
    const newest = () => this.#options.state.acceptor();
    const generations = new HandoffGenerations<Server>(tools, options, report);
    const starter = new ServerStarter(tools, options.runtime, {
      onEnded: (server, error) => this.#serverEnded(server, error),
      onExhausted: (server) => this.#serverExhausted(server),
    });
    const context = { tools, starter, generations, newest, report };
    this.#generations = generations;
    this.#starter = starter;
    this.#port = new PublicPort(context, address);
    this.#succession = new HandoffSuccession(this.#port, context);
  }

  /** Proves the current configuration, then listens. Rejects if either fails, and leaves nothing open. */
  static async open<Server extends NativeServer>(
    tools: HandoffTools,
    address: ListenAddress,
    options: HandoffOptions<Server>,
  ): Promise<Handoff<Server>> {
    const handoff = new Handoff(tools, address, options);
    handoff.#port.listen(await handoff.#starter.proveCurrent(options));
    handoff.#following = options.follow(handoff);
    return handoff;
  }

  /**
   * Takes over from a server that listens already: the first generation gets its socket once it has proved itself. The
   * server is stopped when its last connection has ended. Rejects if that fails; then the server serves on as before.
   */
  static async takeOver<Server extends NativeServer>(
    tools: HandoffTools,
    server: Server,
    options: HandoffOptions<Server>,
  ): Promise<Handoff<Server>> {
    const handoff = new Handoff(tools, { port: server.port }, options);
    const acceptor = await handoff.#starter.proveCurrent(options);
    const own = handoff.#starter.watch(acceptor, server);
    handoff.#port.take(own, handoff.#starter.start(acceptor, LOOPBACK));
    handoff.#following = options.follow(handoff);
    return handoff;
  }

  /** Serves with other options from now on, as after a swap. Rejects if that fails, and goes on with the previous. */
  async adopt(options: HandoffOptions<Server>): Promise<void> {
    await this.#starter.proveCurrent(options);
    this.#following?.[Symbol.dispose]();
    this.#options = options;
    this.#starter.runtime = options.runtime;
    this.#generations.policy = options;
    this.#following = options.follow(this);
    this.follow();
    await this.#succession.attempt;
  }

  get address(): SocketAddress {
    return this.#port.address;
  }

  get generations(): readonly Generation[] {
    return this.#generations.counts();
  }

  get servers(): readonly Server[] {
    return this.#generations.list.map(({ server }) => server);
  }

  get finished(): Promise<void> {
    return this.#generations.finished.then(() => this.#succession.attempt);
  }

  /** Resolves when it has stopped listening. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#following?.[Symbol.dispose]();
    this.#succession.stop();
    this.#port.close();
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

  requireServable(next: TlsConfig): void {
    this.#options.runtime.requireServable(next);
    if (this.#tools.kernel.hasFree(NEEDED_DESCRIPTORS)) return;
    throw unsupported("swap", `it needs ${NEEDED_DESCRIPTORS} free file descriptors; raise the limit of the process`);
  }

  requireAlpnChallenges(): void {
    throw unsupported(
      "answer ALPN challenge",
      "native servers choose their certificate by themselves; use state.acceptor()",
    );
  }

  follow(): void {
    this.#succession.swapped();
    this.#generations.drainUntrusted(this.#options.state.acceptor());
  }

  #report(error: unknown): void {
    errorReporter(this.#options)(error);
  }

  #serverEnded(server: Server, error: unknown): void {
    const generation = this.#generations.list.find((each) => each.server === server);
    if (!generation) return;
    this.#generations.serverEnded(generation);
    if (this.#isClosed) return;
    if (error !== undefined) this.#report(error);
    if (this.#port.serverEnded(generation)) this.#succession.renew();
  }

  #serverExhausted(server: Server): void {
    if (!this.#isClosed && this.#port.serverExhausted(server)) this.#succession.renew();
  }
}
