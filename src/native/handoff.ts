import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { unsupported } from "../unsupported.ts";
import { HandoffGenerations } from "./handoff_generations.ts";
import type { HandoffFollower, HandoffSetting } from "./handoff_setting.ts";
import {
  type Generation,
  type ListenAddress,
  LOOPBACK,
  type NativeServer,
  type ServingGenerations,
} from "./native_server.ts";
import { PublicPort } from "./public_port.ts";
import type { HandoffTools } from "./public_socket.ts";
import { ServerStarter } from "./server_starter.ts";
import { errorReporter } from "./serving_options.ts";
import { HandoffSuccession } from "./handoff_succession.ts";

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
  readonly hidesClients = true;
  readonly mechanismReason: string;
  readonly #tools: HandoffTools;
  readonly #generations: HandoffGenerations<Server>;
  readonly #starter: ServerStarter<Server>;
  readonly #port: PublicPort<Server>;
  readonly #succession: HandoffSuccession<Server>;
  #setting: HandoffSetting<Server>;
  #subscription: Disposable | undefined;
  readonly #closed = Promise.withResolvers<void>();
  #isClosed = false;

  private constructor(tools: HandoffTools, reason: string, address: ListenAddress, setting: HandoffSetting<Server>) {
    this.#tools = tools;
    this.mechanismReason = reason;
    this.#setting = setting;
    const report = (error: unknown) => this.#report(error);
    const generations = new HandoffGenerations<Server>(tools, setting.drain, report);
    const starter = new ServerStarter(tools, setting.runtime, {
      onEnded: (server, error) => this.#serverEnded(server, error),
      onExhausted: (server) => this.#serverExhausted(server),
    });
    this.#generations = generations;
    this.#starter = starter;
    this.#port = new PublicPort({ tools, starter, generations, report }, address);
    this.#succession = new HandoffSuccession(this.#port, starter, {
      newest: () => this.#setting.state.acceptor(),
      report,
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
    handoff.#port.listen(await proveCurrent(handoff.#starter, setting));
    handoff.#follow();
    return handoff;
  }

  /**
   * Takes over from a server that listens already: the first generation gets its socket once it has proved itself.
   * Rejects if that fails; then the server serves on as before.
   *
   * @param tools What the handoffs of this thread share.
   * @param reason Why the handoff is used.
   * @param server The server. It is stopped when its last connection has ended.
   * @param setting What to serve with.
   */
  static async takeOver<Server extends NativeServer>(
    tools: HandoffTools,
    reason: string,
    server: Server,
    setting: HandoffSetting<Server>,
  ): Promise<Handoff<Server>> {
    const handoff = new Handoff(tools, reason, { port: server.port }, setting);
    const acceptor = await proveCurrent(handoff.#starter, setting);
    const own = handoff.#starter.watch(acceptor, server);
    handoff.#port.take(own, handoff.#starter.start(acceptor, LOOPBACK));
    handoff.#follow();
    return handoff;
  }

  /** Serves with another setting from now on, as after a swap. Rejects if that fails, and goes on with the previous. */
  async adopt(setting: HandoffSetting<Server>): Promise<void> {
    await proveCurrent(
      new ServerStarter(this.#tools, setting.runtime, { onEnded: () => {}, onExhausted: () => {} }),
      setting,
    );
    this.#subscription?.[Symbol.dispose]();
    this.#setting = setting;
    this.#starter.runtime = setting.runtime;
    this.#generations.policy = setting.drain;
    this.#follow();
    this.follow();
    await this.#succession.running;
  }

  get address(): { readonly hostname: string; readonly port: number } {
    return this.#port.address;
  }

  get generations(): readonly Generation[] {
    return this.#generations.counts();
  }

  get servers(): readonly Server[] {
    return this.#generations.list.map(({ server }) => server);
  }

  get finished(): Promise<void> {
    return this.#generations.finished.then(() => this.#succession.running);
  }

  /** Resolves when it has stopped listening. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#subscription?.[Symbol.dispose]();
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
    this.#setting.runtime.requireServable(next);
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
    this.#generations.drainUntrusted(this.#setting.state.acceptor());
  }

  #report(error: unknown): void {
    errorReporter(this.#setting.options)(error);
  }

  #follow(): void {
    this.#subscription = this.#setting.follow(this);
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
