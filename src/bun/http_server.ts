import { sharedBy, type TlsState } from "../accept/tls_state.ts";
import type { Generation, Mechanism, ServingGenerations } from "../native/native_server.ts";
import { openServing } from "../native/serving.ts";
import { unsupported } from "../unsupported.ts";
import { openBunFront } from "./front.ts";
import { handlersFor, isHtmlImport, mergePublished, refusingHandlers } from "./handlers.ts";
import { type BunAddress, type BunGeneration, BunRuntime } from "./native_server.ts";
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

/** One `BunServer` over the native servers of all generations. Handlers are called with this object. */
export class HttpServer implements BunServer {
  #serving!: ServingGenerations<BunGeneration>;
  #handlers: BunHandlers<never>;
  readonly #settings: object;
  readonly #hostname: string | undefined;
  readonly #requests = new Requests(() => this.#servers);
  /** The last native server, once all have ended. */
  #lastServers: readonly BunGeneration[] = [];
  readonly #tracksWebSockets: boolean;
  /** Whether requests reach the native servers from clients directly, with nothing to check. */
  #isDirect = true;

  private constructor(state: TlsState, options: BunServeOptions<never>) {
    this.#tracksWebSockets = sharedBy(state).drain.when !== "never";
    const { fetch, routes, websocket, error, mechanism: _, onTlsError: __, ...rest } = options;
    const { port: ___, hostname, reusePort: ____, ipv6Only: _____, ...settings } = rest;
    this.#handlers = { fetch, routes, websocket, error } as BunHandlers<never>;
    this.#settings = settings;
    this.#hostname = hostname;
  }

  static async open(state: TlsState, options: BunServeOptions<never>, address: BunAddress): Promise<HttpServer> {
    const server = new HttpServer(state, options);
    const runtime = new BunRuntime(
      (generation) => server.#optionsFor(generation),
      sharedBy(state).allowClient !== undefined,
    );
    const openFront = (mechanismReason: string) => {
      server.#isDirect = false;
      return openBunFront(state, runtime, address, {
        ...options,
        mechanismReason,
        stallTimeoutMs: 1_000 * longestIdleSeconds(options),
        refuseDirectConnections: (generation) => server.#reload(generation),
        requireServable: ({ clientAuth }) => clientAuth && server.#refuseHtmlImports(),
      });
    };
    server.#serving = await openServing({ state, runtime, address, options, openFront });
    // Under `bun --hot`, generations of an earlier evaluation of the program get the handlers of this one.
    for (const generation of server.#serving.servers.slice(0, -1)) server.#reload(generation);
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
    if ("tls" in handlers) throw unsupported("serve", "'tls' is not an option of reload(); use swap() of the state");
    const { fetch, routes, websocket, error } = handlers as BunHandlers<never>;
    this.#handlers = { fetch, routes, websocket, error } as BunHandlers<never>;
    for (const generation of this.#servers) this.#reload(generation);
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

  #reload(generation: BunGeneration): void {
    generation.native.reload(this.#optionsFor(generation));
  }

  #optionsFor(generation: BunGeneration): object {
    if (generation.isRefusingRequests) return { ...this.#settings, ...refusingHandlers(this.#handlers) };
    const requests = this.#requests;
    const handlers = handlersFor(this.#handlers, {
      server: this,
      admits: this.#isDirect ? undefined : (request) => requests.admit(request, generation),
      ends: generation.drain && ((request) => generation.drain!.ends(request)),
      webSockets: this.#tracksWebSockets ? generation.webSockets : undefined,
      admitsStaticRoutes: generation.isRefusingDirectConnections || generation.drain !== undefined,
      upgradingAddress: () => requests.upgradingAddress,
      publishElsewhere: (topic, message, compress) =>
        publishTo(this.#servers.filter((each) => each !== generation), topic, message, compress),
    });
    return { ...this.#settings, ...handlers };
  }

  #refuseHtmlImports(): void {
    if (!Object.values(this.#handlers.routes ?? {}).some(isHtmlImport)) return;
    throw unsupported(
      "serve",
      "a front cannot keep direct connections from HTML imports; use them without client certificates",
    );
  }

  #sum(count: (native: BunNativeServer) => number): number {
    return this.#servers.reduce((sum, { native }) => sum + count(native), 0);
  }
}

function publishTo(servers: readonly BunGeneration[], topic: string, message: BunMessage, compress?: boolean): number {
  return mergePublished(servers.map(({ native }) => native.publish(topic, message, compress)));
}

/** How long `Bun.serve` waits for a client that does not read; `Infinity` for ever. */
function longestIdleSeconds({ idleTimeout = 10, websocket }: BunServeOptions<never>): number {
  const timeouts = [Number(idleTimeout), ...(websocket ? [Number(websocket["idleTimeout"] ?? 120)] : [])];
  return timeouts.includes(0) ? Infinity : Math.max(...timeouts);
}
