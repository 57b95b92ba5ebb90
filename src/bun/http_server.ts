import { sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { Generation, ListenAddress, Mechanism, ServingGenerations } from "../native/native_server.ts";
import { openServing } from "../native/serving.ts";
import { openBunFront } from "./front.ts";
import { GenerationOptions } from "./generation_options.ts";
import { type BunGeneration, BunRuntime } from "./native_server.ts";
import { publishTo } from "./publish.ts";
import { Requests } from "./requests.ts";
import type {
  BunHandlers,
  BunHeaders,
  BunMessage,
  BunNativeServer,
  BunServeOptions,
  BunServer,
  BunSocketAddress,
  BunWebSocket,
} from "./types.ts";

/**
 * One `BunServer` over the native servers of all generations. Handlers are called with this object.
 *
 * Invariant: there is a native server to ask, the last ones after `stop()`.
 */
export class HttpServer implements BunServer {
  #serving!: ServingGenerations<BunGeneration>;
  readonly #hostname: string | undefined;
  readonly #requests = new Requests(() => this.#servers);
  readonly #options: GenerationOptions;
  /** The last native server, once all have ended. */
  #lastServers: readonly BunGeneration[] = [];

  private constructor(state: TlsState, options: BunServeOptions<never>) {
    this.#hostname = options.hostname;
    this.#options = new GenerationOptions(options, {
      server: this,
      requests: this.#requests,
      servers: () => this.#servers,
      tracksWebSockets: sharedBy(state).drain.when !== "never",
    });
  }

  static async open(state: TlsState, options: BunServeOptions<never>, address: ListenAddress): Promise<HttpServer> {
    const server = new HttpServer(state, options);
    const ofGeneration = server.#options;
    const hasAllowClient = sharedBy(state).allowClient !== undefined;
    const runtime = new BunRuntime((generation) => ofGeneration.for(generation), hasAllowClient);
    const openFront = (mechanismReason: string) => {
      ofGeneration.isDirect = false;
      return openBunFront(state, runtime, address, {
        ...options,
        mechanismReason,
        stallTimeoutMs: 1_000 * longestIdleSeconds(options),
        refuseDirectConnections: (generation) => ofGeneration.reload(generation),
        requireServable: ({ clientAuth }) => clientAuth && ofGeneration.refuseHtmlImports(),
      });
    };
    server.#serving = await openServing(state, address, options, { runtime, openFront });
    // Under `bun --hot`, generations of an earlier evaluation of the program get the handlers of this one.
    for (const generation of server.#serving.servers.slice(0, -1)) ofGeneration.reload(generation);
    return server;
  }

  get mechanism(): Mechanism {
    return this.#serving.mechanism;
  }

  get mechanismReason(): string {
    return this.#serving.mechanismReason;
  }

  get port(): number {
    return this.#serving.address.port;
  }

  get hostname(): string {
    return this.#hostname ?? "localhost";
  }

  get address(): BunSocketAddress {
    const { hostname: address, port } = this.#serving.address;
    return { address, port, family: address.includes(":") ? "IPv6" : "IPv4" };
  }

  get url(): URL {
    const { hostname } = this;
    return new URL(`https://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.port}/`);
  }

  get protocol(): "https" {
    return "https";
  }

  get development(): boolean {
    return this.#servers.at(-1)!.native.development;
  }

  get id(): string {
    return this.#servers.at(-1)!.native.id;
  }

  get generations(): readonly Generation[] {
    return this.#serving.generations;
  }

  get pendingRequests(): number {
    return this.#sum((native) => native.pendingRequests);
  }

  get pendingWebSockets(): number {
    return this.#sum((native) => native.pendingWebSockets);
  }

  fetch(request: Request | string): Promise<Response> {
    return this.#requests.fetch(request);
  }

  closeIdleConnections(): number {
    return this.#sum((native) => native.closeIdleConnections());
  }

  publish(topic: string, message: BunMessage, compress?: boolean): number {
    return publishTo(this.#servers, topic, message, compress);
  }

  ref(): void {
    this.#serving.ref();
  }

  unref(): void {
    this.#serving.unref();
  }

  reload<WebSocket = BunWebSocket>(handlers: BunHandlers<WebSocket>): BunServer {
    this.#options.setHandlers(handlers as BunHandlers<never>);
    return this;
  }

  requestIP(request: Request): BunSocketAddress | null {
    return this.#requests.addressOf(request);
  }

  stop(closeActiveConnections = false): Promise<void> {
    const servers = [...this.#servers];
    this.#lastServers = servers;
    this.#serving.close();
    for (const server of servers) void server.stopGracefully();
    if (closeActiveConnections) this.#serving.destroy();
    return this.#serving.finished;
  }

  subscriberCount(topic: string): number {
    return this.#sum((native) => native.subscriberCount(topic));
  }

  timeout(request: Request, seconds: number): void {
    this.#requests.setTimeout(request, seconds);
  }

  upgrade(request: Request, options?: { readonly headers?: BunHeaders; readonly data?: unknown }): boolean {
    return this.#requests.upgrade(request, options);
  }

  [Symbol.dispose](): void {
    void this.stop(true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(true);
  }

  get #servers(): readonly BunGeneration[] {
    const { servers } = this.#serving;
    return servers.length > 0 ? servers : this.#lastServers;
  }

  #sum(count: (native: BunNativeServer) => number): number {
    return this.#servers.reduce((sum, { native }) => sum + count(native), 0);
  }
}

/** How long `Bun.serve` waits for a client that does not read; `Infinity` for ever. */
function longestIdleSeconds({ idleTimeout = 10, websocket }: BunServeOptions<never>): number {
  const timeouts = [Number(idleTimeout), ...(websocket ? [Number(websocket["idleTimeout"] ?? 120)] : [])];
  return timeouts.includes(0) ? Infinity : Math.max(...timeouts);
}
