import { sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { Generation, ListenAddress, Mechanism, ServingGenerations } from "../native/native_server.ts";
import { openServing } from "../native/serving.ts";
import { optionsForRuntime } from "../native/serving_options.ts";
import { unsupported } from "../unsupported.ts";
import { ACCEPT_OPTION_NAMES, frontReason } from "./accept_options.ts";
import { openHttpFront } from "./front.ts";
import { type DenoHttpGeneration, DenoHttpRuntime } from "./native_server.ts";
import type { DenoHttpServer, DenoNetAddr, DenoServeHandler, DenoServeOptions } from "./types.ts";

/** The options that are not passed on to `Deno.serve`: it gets others in their place, or none. */
const OWN_OPTIONS = [...ACCEPT_OPTION_NAMES, "onListen", "onError", "signal"];
/** The options that only the front has. */
const FRONT_OPTIONS = ["handshakeTimeoutMs", "onClientError"] as const;

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
    address: ListenAddress,
    handler: DenoServeHandler,
  ): Promise<HttpServer> {
    const settings = optionsForRuntime(options, OWN_OPTIONS);
    const { onError, onListen, signal } = options;
    const runtime = new DenoHttpRuntime(
      { ...settings, ...(onError && { onError }) },
      handler,
      sharedBy(state).drain.when === "always",
    );
    const openFront = (mechanismReason: string) => {
      refuseOnFront(settings);
      return openHttpFront(state, address, { handler, onError }, { ...options, mechanismReason });
    };
    const needsFront = frontReason(state.current(), options, FRONT_OPTIONS);
    const serving = await openServing(state, address, options, { runtime, openFront, needsFront });
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

/** Refuses the options that `Deno.serve` would get, because the front has none of them. */
function refuseOnFront(settings: Readonly<Record<string, unknown>>): void {
  const option = Object.keys(settings).find((name) => settings[name] !== undefined && settings[name] !== false);
  if (option) throw unsupported("serve", `the front has no option '${option}'; leave it out`);
}
