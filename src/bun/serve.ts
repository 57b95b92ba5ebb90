import type { Buffer } from "node:buffer";
import process from "node:process";
import { connect } from "node:tls";
import { TlsReloadError } from "../errors.ts";
import { servedFingerprint } from "../config/proof.ts";
import type { TlsServerOptions } from "../config/server_options.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { TlsState } from "../accept/tls_state.ts";
import { unsupported } from "../unsupported.ts";
import { type BunClient, listenBun } from "./bun_carrier.ts";
import { namedEntries } from "./named_entries.ts";
import { type Backend, Front, type FrontOptions, type Generation } from "../native/front.ts";
import { type Peer, peerAt } from "../native/peers.ts";

/** What `Bun.serve({ tls })` takes, once or in a list. */
export interface BunTlsOptions extends Omit<TlsServerOptions, "cert" | "key" | "minVersion"> {
  /** The name that the entry is for, such as `*.example.com`; absent in the default entry. */
  readonly serverName?: string;
  /** The chain as PEM; a list if there are several keys. */
  readonly cert: string | string[];
  /** The private key as plain PKCS#8 PEM; a list if there are several keys. */
  readonly key: Buffer | Buffer[];
  /** The lowest protocol version as its number on the wire (RFC 8446 section 4.2.1). */
  readonly minVersion?: number;
}

/** A WebSocket of `Bun.serve`, as far as it is used here; give `ServerWebSocket<Data>` to {@linkcode serve} for all. */
export interface BunWebSocket {
  /** What was given to `upgrade()`. */
  data: unknown;
  /** The address of the client. */
  readonly remoteAddress: string;
  /** Sends a message. */
  send(message: string | Uint8Array<ArrayBuffer>, compress?: boolean): number;
  /** Sends a message to the other subscribers of a topic, whatever generation they belong to. */
  publish(topic: string, message: string | Uint8Array<ArrayBuffer>, compress?: boolean): number;
  /** Subscribes to a topic. */
  subscribe(topic: string): void;
  /** Ends a subscription. */
  unsubscribe(topic: string): void;
  /** Closes the connection. */
  close(code?: number, reason?: string): void;
}

/** The handlers of `Bun.serve({ websocket })`, and any other of its options. */
export interface BunWebSocketOptions<WebSocket> {
  /** A connection has been made. */
  open?(socket: WebSocket): void | Promise<void>;
  /** A message has come. */
  message(socket: WebSocket, message: string | Uint8Array<ArrayBuffer>): void | Promise<void>;
  /** More can be sent. */
  drain?(socket: WebSocket): void | Promise<void>;
  /** A connection has ended. */
  close?(socket: WebSocket, code: number, reason: string): void | Promise<void>;
  /** What else `Bun.serve({ websocket })` takes. */
  readonly [option: string]: unknown;
}

/** The request of a route, with what stands for `:name` in its path. */
export interface BunRequest extends Request {
  /** The parameters of the path. */
  readonly params: Readonly<Record<string, string>>;
}

/** What answers a request. */
export type BunHandler<Incoming extends Request = Request> = (
  this: BunServer,
  request: Incoming,
  server: BunServer,
) => Response | undefined | void | Promise<Response | undefined | void>;

/** What answers a path: a handler, a `Response`, either for each method, or an HTML import. */
export type BunRoute =
  | BunHandler<BunRequest>
  | Readonly<Record<string, BunHandler<BunRequest> | Response>>
  | object
  | false;

/** The options of `Bun.serve` that can be changed by {@linkcode BunServer.reload}. */
export interface BunHandlers<WebSocket = BunWebSocket> {
  /** Answers what no route does. */
  readonly fetch?: BunHandler | undefined;
  /** What answers which path. */
  readonly routes?: Readonly<Record<string, BunRoute>> | undefined;
  /** Serves WebSockets. */
  readonly websocket?: BunWebSocketOptions<WebSocket> | undefined;
  /** Answers when a handler has thrown. */
  readonly error?: ((this: BunServer, error: Error) => Response | Promise<Response>) | undefined;
}

/** The options of `Bun.serve`, without `tls`, which the state gives, and `unix`. */
export interface BunServeOptions<WebSocket = BunWebSocket> extends BunHandlers<WebSocket>, FrontOptions {
  /**
   * The port to listen on, 0 for one that is free. By default that of `BUN_PORT`, `PORT` or `NODE_PORT` in the
   * environment, else 3000.
   */
  readonly port?: number | string | undefined;
  /** The address to listen on. By default all of the machine. */
  readonly hostname?: string | undefined;
  /** Whether other processes may listen there as well, on Linux. */
  readonly reusePort?: boolean | undefined;
  /** Whether an IPv6 address takes no IPv4. */
  readonly ipv6Only?: boolean | undefined;
  /** What else `Bun.serve` takes, such as `idleTimeout` and `maxRequestBodySize`. */
  readonly [option: string]: unknown;
}

type Message = string | ArrayBufferView | ArrayBuffer;

/** `Server` of Bun, as far as it is used here. */
interface NativeServer {
  readonly port: number;
  readonly id: string;
  readonly development: boolean;
  readonly pendingRequests: number;
  readonly pendingWebSockets: number;
  closeIdleConnections(): void;
  fetch(request: Request | string): Response | Promise<Response>;
  publish(topic: string, message: Message, compress?: boolean): number;
  ref(): void;
  reload(options: object): void;
  requestIP(request: Request): { address: string; port: number; family: "IPv4" | "IPv6" } | null;
  stop(closeActiveConnections?: boolean): Promise<void>;
  subscriberCount(topic: string): number;
  timeout(request: Request, seconds: number): void;
  unref(): void;
  upgrade(request: Request, options?: object): boolean;
}

declare const Bun: { readonly version: string; serve(options: object): NativeServer };

/** Options of `Bun.serve` that the front decides. */
const NOT_TAKEN = ["tls", "unix", "id"];
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]);
/** Versions of Bun that pass over `minVersion` without a word. */
const UNCHECKED = /^(0|1\.[0-3]|1\.4\.[0-2])(\.|$)/;
const TLS_1_3 = 0x0304;
const PROOF_TIMEOUT_MS = 10_000;

/**
 * A configuration as `Bun.serve({ tls })` takes it. Bun reads it once: its own `reload({ tls })` changes nothing, and
 * says nothing. To change the certificate of a server, see {@linkcode serve}.
 *
 * Of several certified keys each name gets an entry: a client gets the key of the name that it can verify, and the first
 * key where no name is sent or known.
 *
 * @param config What to serve with.
 * @returns The options, a list of them for several certified keys. They hold the private keys, and hide them when printed.
 * @throws {TlsReloadError} `UNSUPPORTED` for optional client authentication, as `Bun.serve` would let in clients with bad
 * certificates, for `maxVersion`, `ciphers` and `ecdhCurve`, and before Bun 1.4.3 for any client authentication and for a
 * `minVersion` of TLS 1.3; for unknown names that are to be refused; for an address in any certificate but the default's,
 * as `Bun.serve` does not choose by the local address.
 */
export function tlsOptions(config: TlsConfig): BunTlsOptions | BunTlsOptions[] {
  if (config.clientAuth?.mode === "optional") {
    const alternative = 'use mode "required", or state.acceptor() with node:http';
    throw unsupported("serve", `Bun.serve lets in clients with bad certificates if they are optional; ${alternative}`);
  }
  if (UNCHECKED.test(process.versions.bun ?? "") && (config.clientAuth || config.minVersion !== "TLSv1.2")) {
    throw unsupported(
      "serve",
      "before Bun 1.4.3 client authentication and minVersion are not to be relied on; upgrade Bun",
    );
  }
  const entries = namedEntries(config).map(({ minVersion, maxVersion, ciphers, ecdhCurve, ...options }) => {
    const refused = Object.entries({ maxVersion, ciphers, ecdhCurve }).find(([, value]) => value !== undefined);
    if (refused) throw unsupported("serve", `Bun.serve has no ${refused[0]}; use state.acceptor() with node:http`);
    return { ...options, ...(minVersion && { minVersion: TLS_1_3 }) };
  });
  return config.certifiedKeys.length > 1 ? entries : entries[0]!;
}

/**
 * Serves like `Bun.serve`, with the certificate of a state. A swap closes nothing: connections go on as they began, and
 * each one that is accepted after it gets the new certificate.
 *
 * Takes the options of `Bun.serve` except `tls` and `unix`; handlers get the server returned here. For each
 * configuration one `Bun.serve` listens on a port of 127.0.0.1 that changes, and one public listener passes the
 * encrypted bytes on to the newest that has proved itself by a handshake. Whoever finds that inner port meets the same
 * TLS, with the same client authentication, and is refused as soon as its configuration is no longer current.
 *
 * @param state What to serve with.
 * @param options Handlers, port, and what to do with old generations.
 * @returns The server, when it listens.
 * @throws {TlsReloadError} `UNSUPPORTED` on another runtime than Bun, for optional client authentication, and for HTML
 * imports as routes together with client authentication; `CONFIG_UNUSABLE` if the configuration cannot serve.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { serve } from "@x/tls-reload/bun";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * process.on("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * await serve(state, {
 *   port: 443,
 *   routes: { "/health": new Response("ok") },
 *   fetch: (request, server) => new Response(`Hello ${server.requestIP(request)?.address}`),
 * });
 * ```
 */
export async function serve<WebSocket = BunWebSocket>(
  state: TlsState,
  options: BunServeOptions<WebSocket>,
): Promise<BunServer> {
  if (typeof Bun === "undefined") {
    throw unsupported("serve", "it needs Bun; use attach() of ./node, serve() of ./deno, or state.acceptor()");
  }
  return await BunServer.open(state, options as BunServeOptions<never>);
}

/** One configuration's `Bun.serve`. */
class BunBackend implements Backend<BunClient> {
  readonly peers = new Map<number, Peer>();
  readonly inner: NativeServer;
  isGuarded = false;
  readonly #onGuard: (backend: BunBackend) => void;

  constructor(inner: (backend: BunBackend) => NativeServer, onGuard: (backend: BunBackend) => void) {
    this.inner = inner(this);
    this.#onGuard = onGuard;
  }

  serve(client: BunClient): void {
    client.carry(this.inner.port, this.peers);
  }

  peer(request: Request): Peer | undefined {
    const from = this.inner.requestIP(request);
    return from ? peerAt(this.peers, from) : undefined;
  }

  guard(): void {
    if (this.isGuarded) return;
    this.isGuarded = true;
    this.#onGuard(this);
  }

  close(): void {
    void this.inner.stop(true);
  }
}

/** What {@linkcode serve} returns: the `Server` of `Bun.serve`, over all generations of its certificate. */
export class BunServer implements AsyncDisposable, Disposable {
  #front!: Front<BunClient, BunBackend>;
  #handlers: BunHandlers<never>;
  readonly #settings: object;
  readonly #hostname: string | undefined;
  readonly #owners = new WeakMap<Request, BunBackend>();
  /** Whose WebSocket is being opened: Bun calls `open` before `upgrade()` returns. */
  #upgrading: Peer | undefined;
  #isAsking = false;
  #isRef = true;

  private constructor({ fetch, routes, websocket, error, ...settings }: BunServeOptions<never>) {
    for (const name of NOT_TAKEN) {
      if (name in settings) throw new TypeError(`Cannot serve: '${name}' is not an option of this server`);
    }
    const { port: _, hostname, reusePort: __, ipv6Only: ___, ...rest } = settings;
    this.#handlers = { fetch, routes, websocket, error } as BunHandlers<never>;
    this.#settings = rest;
    this.#hostname = hostname;
  }

  /** @ignore */
  static async open(state: TlsState, options: BunServeOptions<never>): Promise<BunServer> {
    const server = new BunServer(options);
    const { BUN_PORT, PORT, NODE_PORT } = process.env;
    const { port = BUN_PORT ?? PORT ?? NODE_PORT ?? 3000, hostname, reusePort, ipv6Only } = options;
    const stallTimeoutSeconds = longestIdleSeconds(options);
    server.#front = await Front.open(state, {
      listen: listenBun({ hostname, port: Number(port), reusePort, ipv6Only, stallTimeoutSeconds }),
      start: (acceptor) => server.#start(acceptor.config),
    }, options);
    return server;
  }

  /** The public port. */
  get port(): number {
    return this.#front.address.port;
  }

  /** The public address. */
  get hostname(): string {
    return this.#hostname ?? "localhost";
  }

  /** Where it listens. */
  get address(): { address: string; port: number; family: "IPv4" | "IPv6" } {
    const { hostname: address, port } = this.#front.address;
    return { address, port, family: address.includes(":") ? "IPv6" : "IPv4" };
  }

  /** Where the server is to be found. */
  get url(): URL {
    const { hostname } = this;
    return new URL(`https://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.port}/`);
  }

  /** Always `https`. */
  get protocol(): "https" {
    return "https";
  }

  /** Whether Bun is in its development mode. */
  get development(): boolean {
    return this.#front.serving.inner.development;
  }

  /** The generations that hold connections, the oldest first; the last one gets the next connection. */
  get generations(): readonly Generation[] {
    return this.#front.generations;
  }

  /** The requests that are being answered. */
  get pendingRequests(): number {
    return this.#sum((inner) => inner.pendingRequests);
  }

  /** The WebSockets that are open. */
  get pendingWebSockets(): number {
    return this.#sum((inner) => inner.pendingWebSockets);
  }

  /** Asks the handlers without a connection. */
  async fetch(request: Request | string): Promise<Response> {
    const { inner } = this.#front.serving;
    return await this.#asking(() => inner.fetch(request));
  }

  /** Ends the connections that are idle. */
  closeIdleConnections(): void {
    for (const { inner } of this.#front.backends) inner.closeIdleConnections();
  }

  /** Sends a message to all subscribers of a topic. Returns bytes, 0 if none was sent, -1 if one had to wait. */
  publish(topic: string, message: string | ArrayBufferView | ArrayBuffer, compress?: boolean): number {
    return merged(this.#front.backends.map(({ inner }) => inner.publish(topic, message, compress)));
  }

  /** Keeps the process running, as it does from the start. */
  ref(): void {
    this.#isRef = true;
    this.#front.ref();
    for (const { inner } of this.#front.backends) inner.ref();
  }

  /** No longer keeps the process running. */
  unref(): void {
    this.#isRef = false;
    this.#front.unref();
    for (const { inner } of this.#front.backends) inner.unref();
  }

  /** Replaces handlers. The certificate is replaced by the `swap()` of the state instead. */
  reload<WebSocket = BunWebSocket>(handlers: BunHandlers<WebSocket>): BunServer {
    if ("tls" in handlers) throw unsupported("serve", "'tls' is no option of reload(); use the swap() of the state");
    const { fetch, routes, websocket, error } = handlers as BunHandlers<never>;
    this.#handlers = { fetch, routes, websocket, error } as BunHandlers<never>;
    for (const backend of this.#front.backends) this.#reload(backend);
    return this;
  }

  /** The address of the client; `null` once the connection has ended. */
  requestIP(request: Request): { address: string; port: number; family: "IPv4" | "IPv6" } | null {
    const backend = this.#owners.get(request);
    const peer = backend?.peer(request);
    return peer ? { ...peer } : backend?.inner.requestIP(request) ?? null;
  }

  /**
   * Stops listening, and ends connections that are idle.
   *
   * @param closeActiveConnections Whether to cut all others too.
   * @returns Resolves when the last connection has ended.
   */
  stop(closeActiveConnections = false): Promise<void> {
    const { backends, clients } = this.#front;
    this.#front.close();
    for (const client of clients) client.closeIfSilent();
    for (const { inner } of backends) void inner.stop(closeActiveConnections);
    if (closeActiveConnections) this.#front.destroy();
    return this.#front.finished;
  }

  /** How many subscribe to a topic. */
  subscriberCount(topic: string): number {
    return this.#sum((inner) => inner.subscriberCount(topic));
  }

  /** Changes how long a request may be idle. */
  timeout(request: Request, seconds: number): void {
    this.#owners.get(request)?.inner.timeout(request, seconds);
  }

  /** Makes a WebSocket of a request; returns `false` if it asks for none. */
  upgrade(request: Request, options?: { readonly headers?: HeadersInit; readonly data?: unknown }): boolean {
    const backend = this.#owners.get(request);
    if (!backend) return false;
    this.#upgrading = backend.peer(request);
    try {
      return backend.inner.upgrade(request, options);
    } finally {
      this.#upgrading = undefined;
    }
  }

  /** Stops and cuts every connection. */
  [Symbol.dispose](): void {
    void this.stop(true);
  }

  /** Stops and cuts every connection, and waits for their end. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(true);
  }

  /** Bun calls the handler within the call of `fetch()`, with another request than it was given. */
  #asking<Answer>(ask: () => Answer): Answer {
    this.#isAsking = true;
    try {
      return ask();
    } finally {
      this.#isAsking = false;
    }
  }

  async #start(config: TlsConfig): Promise<BunBackend> {
    const tls = tlsOptions(config);
    if (config.clientAuth && Object.values(this.#handlers.routes ?? {}).some(isBundle)) {
      throw unsupported(
        "serve",
        "HTML imports as routes cannot be kept from strangers; use them without client certificates",
      );
    }
    const backend = new BunBackend(
      (backend) => started({ ...this.#settings, ...this.#handlersOf(backend), tls, hostname: "127.0.0.1", port: 0 }),
      (backend) => this.#reload(backend),
    );
    if (!this.#isRef) backend.inner.unref();
    try {
      await prove(backend.inner.port, config);
    } catch (error) {
      backend.close();
      throw error;
    }
    return backend;
  }

  #reload(backend: BunBackend): void {
    backend.inner.reload({ ...this.#settings, ...this.#handlersOf(backend) });
  }

  #handlersOf(backend: BunBackend): object {
    const { fetch, routes, websocket, error } = this.#handlers;
    return {
      ...(fetch && { fetch: this.#handler(fetch, backend) }),
      ...(routes && { routes: mapValues(routes, (route) => this.#route(route, backend)) }),
      ...(websocket && { websocket: this.#webSocket(websocket, backend) }),
      ...(error && { error: (cause: Error) => error.call(this, cause) }),
    };
  }

  #handler(handler: BunHandler, backend: BunBackend): (request: Request) => unknown {
    return (request) => {
      if (backend.isGuarded && !this.#isAsking && !backend.peer(request)) return new Response(null, { status: 421 });
      this.#owners.set(request, backend);
      return handler.call(this, request, this);
    };
  }

  #route(route: unknown, backend: BunBackend): unknown {
    if (typeof route === "function") return this.#handler(route as BunHandler, backend);
    if (isMethodMap(route)) return mapValues(route, (each) => this.#route(each, backend));
    if (!backend.isGuarded) return route;
    if (route instanceof Response) return this.#handler(() => route.clone(), backend);
    if (route instanceof Blob) return this.#handler(() => new Response(route), backend);
    return route;
  }

  #webSocket({ open, ...rest }: BunWebSocketOptions<never>, backend: BunBackend): object {
    return {
      ...rest,
      open: (socket: BunWebSocket) => {
        const others = () => this.#front.backends.filter((each) => each !== backend);
        const publishes = (own: BunWebSocket["publish"]) => ({
          value: (topic: string, message: Message, compress?: boolean) =>
            merged([
              own.call(socket, topic, message as string, compress),
              ...others().map(({ inner }) => inner.publish(topic, message, compress)),
            ]),
        });
        const native = socket as BunWebSocket & Record<"publishText" | "publishBinary", BunWebSocket["publish"]>;
        Object.defineProperties(socket, {
          ...(this.#upgrading && { remoteAddress: { value: this.#upgrading.address } }),
          publish: publishes(native.publish),
          publishText: publishes(native.publishText),
          publishBinary: publishes(native.publishBinary),
        });
        return open?.(socket as never);
      },
    };
  }

  #sum(count: (inner: NativeServer) => number): number {
    return this.#front.backends.reduce((sum, { inner }) => sum + count(inner), 0);
  }
}

/** How long a client may take nothing: as long as `Bun.serve` would wait, of what it is not told any more. */
function longestIdleSeconds({ idleTimeout = 10, websocket }: BunServeOptions<never>): number {
  const timeouts = [Number(idleTimeout), ...(websocket ? [Number(websocket["idleTimeout"] ?? 120)] : [])];
  return timeouts.includes(0) ? 0 : Math.max(...timeouts);
}

function started(options: object): NativeServer {
  try {
    return Bun.serve(options);
  } catch (cause) {
    // An option that has the wrong type, which is no matter of TLS.
    if (cause instanceof TypeError) throw cause;
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot serve: Bun.serve does not start", { cause });
  }
}

/** Completes one handshake with an inner server and compares the certificate that it serves. */
async function prove(port: number, config: TlsConfig): Promise<void> {
  const client = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, minVersion: "TLSv1.3" });
  try {
    const served = await servedFingerprint(client, PROOF_TIMEOUT_MS);
    if (served !== config.leaf.fingerprint256) throw new Error(`served another certificate: ${served}`);
  } catch (cause) {
    throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot serve: no handshake with Bun.serve succeeds", { cause });
  } finally {
    client.destroy();
  }
}

/** What `publish()` returns for several servers. */
function merged(results: readonly number[]): number {
  return results.includes(-1) ? -1 : Math.max(0, ...results);
}

function isMethodMap(route: unknown): route is Record<string, unknown> {
  if (typeof route !== "object" || route === null) return false;
  const names = Object.keys(route);
  return names.length > 0 && names.every((name) => METHODS.has(name));
}

function isBundle(route: unknown): boolean {
  if (isMethodMap(route)) return Object.values(route).some(isBundle);
  return typeof route === "object" && !(route instanceof Response) && !(route instanceof Blob);
}

function mapValues(object: Readonly<Record<string, unknown>>, map: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
