import { sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { Generation, Mechanism, ServingGenerations } from "../native/native_server.ts";
import { openServing } from "../native/serving.ts";
import { unsupported } from "../unsupported.ts";
import { openDenoFront } from "./front.ts";
import { missingNatively } from "./listen_tls_options.ts";
import { missingToListen } from "./permissions.ts";
import { type DenoAddress, type DenoHttpGeneration, DenoHttpRuntime } from "./native_server.ts";
import type { DenoHttpServer, DenoNetAddr, DenoServeHandler, DenoServeOptions } from "./types.ts";

/** One `DenoHttpServer` over the native servers of all generations. Requests do not pass through this object. */
export class HttpServer implements DenoHttpServer {
  readonly #state: TlsState;
  readonly #runtime: DenoHttpRuntime;
  readonly #serving: ServingGenerations<DenoHttpGeneration>;

  private constructor(state: TlsState, runtime: DenoHttpRuntime, serving: ServingGenerations<DenoHttpGeneration>) {
    this.#state = state;
    this.#runtime = runtime;
    this.#serving = serving;
  }

  static async open(
    state: TlsState,
    options: DenoServeOptions,
    address: DenoAddress,
    handler: DenoServeHandler,
  ): Promise<HttpServer> {
    const { onListen, signal, onError, handshakeTimeoutMs, onClientError, ...rest } = options;
    const { mechanism: _, onTlsError: __, hostname: ___, port: ____, ...others } = rest;
    const { tcpBacklog, reusePort: _____, ...settings } = others;
    const frontOptions = Object.entries({ handshakeTimeoutMs, onClientError });
    const frontOption = frontOptions.find(([, value]) => value !== undefined)?.[0];
    const runtime = new DenoHttpRuntime(
      { ...settings, ...(onError && { onError }) },
      handler,
      sharedBy(state).drain.when === "always",
    );
    const serving = await openServing<DenoHttpGeneration>({
      state,
      runtime,
      address,
      options,
      needsFront: frontOption
        ? `option '${frontOption}'`
        : missingNatively(state.current()) ?? missingToListen(address),
      openFront(mechanismReason) {
        const setting = Object.entries(settings).find(([, value]) => value !== undefined && value !== false)?.[0];
        if (setting) throw unsupported("serve", `the front has no option '${setting}'; leave it out`);
        const publicAddress = { ...address, backlog: tcpBacklog };
        return openDenoFront(state, publicAddress, { handler, onError }, { ...options, mechanismReason });
      },
    });
    const server = new HttpServer(state, runtime, serving);
    server.#destroyOn(signal);
    onListen?.(server.addr);
    return server;
  }

  get mechanism(): Mechanism {
    return this.#serving.mechanism;
  }

  get mechanismReason(): string {
    return this.#serving.mechanismReason;
  }

  get addr(): DenoNetAddr {
    return { transport: "tcp", ...this.#serving.address };
  }

  get finished(): Promise<void> {
    return this.#serving.finished;
  }

  get generations(): readonly Generation[] {
    return this.#serving.generations;
  }

  async shutdown(): Promise<void> {
    const servers = [...this.#serving.servers];
    this.#serving.close();
    await Promise.all(servers.map((server) => server.shutdown()));
    await this.finished;
  }

  ref(): void {
    this.#runtime.ref();
    this.#serving.ref();
  }

  unref(): void {
    if (this.mechanism === "handoff") this.#runtime.unref(this.#state.current());
    this.#serving.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  #destroyOn(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const onAbort = () => this.#serving.destroy();
    signal.addEventListener("abort", onAbort);
    void this.finished.then(() => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
  }
}
