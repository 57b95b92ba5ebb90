/**
 * `Deno.listenTls` and `Deno.serve` with a certificate that can be changed.
 *
 * @module
 */
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { showAs } from "../inspect.ts";
import { proveTlsConfig } from "../proof.ts";
import { TlsAcceptor } from "../tls_acceptor.ts";
import { HIDDEN_KEY, privateKeyPem, TlsConfig, tlsOptions } from "../tls_config.ts";
import type { TlsState } from "../tls_state.ts";
import { type Backend, Front, type FrontOptions, type Generation, reporter } from "./front.ts";
import { carry, listenNet, peerOf } from "./net_carrier.ts";
import type { Peer } from "./peers.ts";
import { unsupported } from "./unsupported.ts";

export type { FrontOptions, Generation };

/** What `Deno.listenTls` and `Deno.serve` take for TLS. */
export interface DenoTlsOptions {
  /** The chain as PEM. */
  readonly cert: string;
  /** The private key as plain PKCS#8 PEM. */
  readonly key: string;
  /** The protocols offered by ALPN. */
  readonly alpnProtocols?: string[];
}

/** `Deno.NetAddr`. */
export interface DenoNetAddr {
  /** The transport. */
  readonly transport: "tcp";
  /** The address, as text. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/** Where to listen. */
export interface DenoListenTlsOptions extends FrontOptions {
  /** The port, 0 for one that is free. */
  readonly port: number;
  /**
   * The address.
   *
   * @default {"0.0.0.0"}
   */
  readonly hostname?: string;
  /**
   * How many connections the system may queue, and how many may wait for `accept()` with their handshake made.
   *
   * @default {511}
   */
  readonly tcpBacklog?: number;
  /**
   * How long a peer may take for its handshake.
   *
   * @default {10_000}
   */
  readonly handshakeTimeoutMs?: number;
}

/** `Deno.TlsConn`. */
export interface DenoTlsConn extends Disposable {
  /** Reads into an array; resolves to the number of bytes, or to `null` at the end. */
  read(p: Uint8Array): Promise<number | null>;
  /** Writes an array; resolves to the number of bytes. */
  write(p: Uint8Array): Promise<number>;
  /** Closes the connection. */
  close(): void;
  /** Ends what is written, and leaves the other direction open. */
  closeWrite(): Promise<void>;
  /** The handshake, which is complete. */
  handshake(): Promise<{ alpnProtocol: string | null }>;
  /** Whether small writes leave at once, as they do from the start. */
  setNoDelay(noDelay?: boolean): void;
  /** Whether the system probes a connection that is idle. */
  setKeepAlive(keepAlive?: boolean): void;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
  /** The address of the client. */
  readonly remoteAddr: DenoNetAddr;
  /** The address of the server. */
  readonly localAddr: DenoNetAddr;
  /** What is received. */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** What is sent. */
  readonly writable: WritableStream<Uint8Array<ArrayBufferLike>>;
}

/** `Deno.TlsListener`. */
export interface DenoTlsListener extends AsyncIterable<DenoTlsConn>, Disposable {
  /** Where it listens. */
  readonly addr: DenoNetAddr;
  /** The generations that hold connections, the oldest first; the last one gets the next connection. */
  readonly generations: readonly Generation[];
  /** The next connection whose handshake is complete. */
  accept(): Promise<DenoTlsConn>;
  /** Stops listening. Connections that were accepted go on. */
  close(): void;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
}

/** `Deno.ServeHandlerInfo`. */
export interface DenoServeHandlerInfo {
  /** The address of the client. */
  readonly remoteAddr: DenoNetAddr;
  /** Resolves when the response has been sent. */
  readonly completed: Promise<void>;
}

/** `Deno.ServeHandler`. */
export type DenoServeHandler = (request: Request, info: DenoServeHandlerInfo) => Response | Promise<Response>;

/** The options of `Deno.serve`, without certificate and key, which the state gives. */
export interface DenoServeOptions extends FrontOptions {
  /**
   * The port to listen on, 0 for one that is free.
   *
   * @default {8000}
   */
  readonly port?: number;
  /**
   * The address to listen on.
   *
   * @default {"0.0.0.0"}
   */
  readonly hostname?: string;
  /** How many connections the system may queue. */
  readonly tcpBacklog?: number;
  /**
   * How long a peer may take for its handshake.
   *
   * @default {10_000}
   */
  readonly handshakeTimeoutMs?: number;
  /** Stops the server and cuts its connections. */
  readonly signal?: AbortSignal;
  /** Answers when the handler has thrown. */
  readonly onError?: (error: unknown) => Response | Promise<Response>;
  /** Called when the server listens. */
  readonly onListen?: (localAddr: DenoNetAddr) => void;
}

/** `Deno.HttpServer`. */
export interface DenoHttpServer extends AsyncDisposable {
  /** Where it listens. */
  readonly addr: DenoNetAddr;
  /** Resolves when the server has stopped and its last connection has ended. */
  readonly finished: Promise<void>;
  /** The generations that hold connections, the oldest first; the last one gets the next connection. */
  readonly generations: readonly Generation[];
  /** Stops listening, ends connections that are idle, and waits for the others. */
  shutdown(): Promise<void>;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
}

/** `Deno.HttpServer`, as far as it is used here. */
interface NativeServer {
  readonly addr: { readonly port: number };
  readonly finished: Promise<void>;
  shutdown(): Promise<void>;
  ref(): void;
  unref(): void;
}

declare const Deno: {
  readonly errors: { readonly BadResource: new (message: string) => Error };
  readonly permissions: {
    requestSync(permission: { readonly name: "net"; readonly host: string }): { readonly state: string };
  };
  serve(
    options: object,
    handler: (request: Request, info: DenoServeHandlerInfo) => Response | Promise<Response>,
  ): NativeServer;
};

const HTTP_PROTOCOLS = ["h2", "http/1.1"];
const DEFAULT_BACKLOG = 511;
const RESTART_EVERY_MS = 100;

/**
 * A configuration as `Deno.listenTls` and `Deno.serve` take it; a key that was encrypted is handed over decrypted. Deno
 * reads it once. To change the certificate of a server, see {@linkcode listenTls} and {@linkcode serve}.
 *
 * @param config What to serve with.
 * @returns The options. They hold the private key, and hide it when printed; copies of them do not.
 * @throws {TlsReloadError} `UNSUPPORTED` for client authentication and for a `minVersion` of TLS 1.3: the native servers
 * of Deno have neither.
 */
export function listenTlsOptions(config: TlsConfig): DenoTlsOptions {
  const missing = config.clientAuth ? "client authentication" : config.minVersion !== "TLSv1.2" ? "minVersion" : "";
  if (missing) {
    throw unsupported("serve", `its native servers have no ${missing}; use listenTls() or serve() of ./deno`);
  }
  const { chain, alpnProtocols } = config;
  const options = {
    cert: chain.map(({ pem }) => pem).join(""),
    key: privateKeyPem(config),
    ...(alpnProtocols.length > 0 && { alpnProtocols: [...alpnProtocols] }),
  };
  return showAs(options, () => ({ ...options, key: HIDDEN_KEY }));
}

/**
 * Listens like `Deno.listenTls`, with the certificate of a state. A swap closes nothing: connections go on as they
 * began, and each one that is accepted after it gets the new certificate. Client authentication works.
 *
 * Connections arrive with their handshake made, so that one bad or slow client neither ends nor holds up the loop. A
 * configuration that cannot serve is reported, and the previous one goes on. Needs `--allow-net` for the address.
 *
 * @param state What to serve with.
 * @param options Where to listen, and what to do with old generations.
 * @returns The listener, when it listens.
 * @throws {TlsReloadError} `UNSUPPORTED` on another runtime than Deno, or if the permission is missing;
 * `CONFIG_UNUSABLE` if the configuration cannot serve.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { listenTls } from "@x/tls-reload/deno";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * Deno.addSignalListener("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * for await (const conn of await listenTls(state, { port: 8443 })) {
 *   conn.readable.pipeTo(conn.writable).catch(() => {});
 * }
 * ```
 */
export async function listenTls(state: TlsState, options: DenoListenTlsOptions): Promise<DenoTlsListener> {
  requireDeno("listen");
  return await Listener.open(state, options);
}

/**
 * Serves like `Deno.serve`, with the certificate of a state. A swap closes nothing: connections go on as they began,
 * and each one that is accepted after it gets the new certificate. Client authentication works.
 *
 * HTTP/1.1, HTTP/2 and WebSockets are those of `Deno.serve`, which listens without TLS on a port of 127.0.0.1; a
 * public listener makes the handshakes and passes the bytes on. Whoever else finds that port is answered with 421 and
 * reaches no handler. Without `alpnProtocols` in the configuration, HTTP/2 and HTTP/1.1 are offered.
 *
 * Needs `--allow-net` for the address and for `127.0.0.1`. `request.url` says `https:`; what `new Request(request)`
 * makes says `http:`.
 *
 * @param state What to serve with.
 * @param options Where to listen, and what to do with old generations.
 * @param handler Answers the requests.
 * @returns The server, when it listens.
 * @throws {TlsReloadError} `UNSUPPORTED` on another runtime than Deno, or if a permission is missing;
 * `CONFIG_UNUSABLE` if the configuration cannot serve.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { serve } from "@x/tls-reload/deno";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * Deno.addSignalListener("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * await serve(state, { port: 443 }, (_request, info) => new Response(`Hello ${info.remoteAddr.hostname}`));
 * ```
 */
export async function serve(
  state: TlsState,
  options: DenoServeOptions,
  handler: DenoServeHandler,
): Promise<DenoHttpServer> {
  requireDeno("serve");
  return await HttpServer.open(state, options, handler);
}

type HandshakeOptions = Pick<DenoListenTlsOptions, "handshakeTimeoutMs" | "onTlsError">;

/** Makes the handshakes of one generation. */
class Handshakes implements Backend<Socket> {
  readonly #acceptor: TlsAcceptor;
  readonly #options: HandshakeOptions;
  readonly #onSecure: (secure: TLSSocket, peer: Peer) => void;

  constructor(
    acceptor: TlsAcceptor,
    options: HandshakeOptions,
    onSecure: (secure: TLSSocket, peer: Peer) => void,
  ) {
    this.#acceptor = acceptor;
    this.#options = options;
    this.#onSecure = onSecure;
  }

  serve(client: Socket): void {
    const { handshakeTimeoutMs = 10_000, onTlsError } = this.#options;
    const peer = peerOf(client);
    // A peer that ends the connection before the handshake does is gone; after it, each direction ends by itself.
    client.allowHalfOpen = false;
    this.#acceptor.accept(client, { handshakeTimeoutMs }).then((secure) => {
      client.allowHalfOpen = secure.allowHalfOpen = true;
      this.#onSecure(secure, peer);
    }).catch((error) => onTlsError?.(error));
  }
}

class Listener implements DenoTlsListener {
  #front!: Front<Socket, Handshakes>;
  readonly #maxReady: number;
  readonly #ready: Conn[] = [];
  readonly #accepts: PromiseWithResolvers<Conn>[] = [];
  #isClosed = false;

  private constructor({ tcpBacklog = DEFAULT_BACKLOG }: DenoListenTlsOptions) {
    this.#maxReady = tcpBacklog;
  }

  static async open(state: TlsState, options: DenoListenTlsOptions): Promise<Listener> {
    const { port, hostname = "0.0.0.0", tcpBacklog } = options;
    requireNet(hostname, port);
    const listener = new Listener(options);
    const start = async (acceptor: TlsAcceptor) => {
      await proveTlsConfig(acceptor.config);
      return new Handshakes(acceptor, options, (secure, peer) => listener.#add(new Conn(secure, peer)));
    };
    const listen = listenNet({ hostname, port, backlog: tcpBacklog });
    listener.#front = await Front.open(state, { listen, start }, options);
    return listener;
  }

  get addr(): DenoNetAddr {
    return { transport: "tcp", ...this.#front.address };
  }

  get generations(): readonly Generation[] {
    return this.#front.generations;
  }

  accept(): Promise<DenoTlsConn> {
    if (this.#isClosed) return Promise.reject(closed("Listener"));
    const conn = this.#ready.shift();
    if (conn) return Promise.resolve(conn);
    const accept = Promise.withResolvers<Conn>();
    this.#accepts.push(accept);
    return accept.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#front.close();
    for (const conn of this.#ready.splice(0)) conn.close();
    for (const accept of this.#accepts.splice(0)) accept.reject(closed("Listener"));
  }

  ref(): void {
    this.#front.ref();
  }

  unref(): void {
    this.#front.unref();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<DenoTlsConn> {
    try {
      while (!this.#isClosed) {
        const conn = await this.accept().catch(() => undefined);
        if (conn) yield conn;
      }
    } finally {
      this.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #add(conn: Conn): void {
    const accept = this.#accepts.shift();
    if (accept) accept.resolve(conn);
    else if (this.#isClosed || this.#ready.length >= this.#maxReady) conn.close();
    else this.#ready.push(conn);
  }
}

class Conn implements DenoTlsConn {
  readonly remoteAddr: DenoNetAddr;
  readonly localAddr: DenoNetAddr;
  readonly #socket: TLSSocket;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array<ArrayBufferLike>> | undefined;
  #changed = Promise.withResolvers<void>();
  #isEnded = false;
  #isClosed = false;

  constructor(socket: TLSSocket, peer: Peer) {
    this.#socket = socket;
    this.remoteAddr = netAddr(peer);
    this.localAddr = { transport: "tcp", hostname: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    const change = () => {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    };
    socket.on("readable", change).on("close", change).on("end", () => {
      this.#isEnded = true;
      change();
    });
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      type: "bytes",
      pull: async (controller) => {
        const view = controller.byobRequest?.view;
        const chunk = await this.#next(view?.byteLength ?? Infinity);
        if (!chunk) {
          controller.close();
          controller.byobRequest?.respond(0);
        } else if (view) {
          new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(chunk);
          controller.byobRequest!.respond(chunk.length);
        } else {
          // A copy, as the stream takes the memory away, which the socket may share among chunks.
          controller.enqueue(new Uint8Array(chunk));
        }
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    return this.#writable ??= new WritableStream({
      write: async (chunk) => void await this.write(chunk),
      close: () => this.closeWrite(),
      abort: () => this.close(),
    });
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (p.byteLength === 0) return 0;
    const chunk = await this.#next(p.byteLength);
    if (!chunk) return null;
    p.set(chunk);
    return chunk.length;
  }

  write(p: Uint8Array): Promise<number> {
    if (this.#isClosed) return Promise.reject(closed("Connection"));
    return new Promise((resolve, reject) => {
      this.#socket.write(p, (error) => error ? reject(error) : resolve(p.byteLength));
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroySoon();
  }

  closeWrite(): Promise<void> {
    if (this.#isClosed) return Promise.reject(closed("Connection"));
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  handshake(): Promise<{ alpnProtocol: string | null }> {
    return Promise.resolve({ alpnProtocol: this.#socket.alpnProtocol || null });
  }

  setNoDelay(noDelay = true): void {
    this.#socket.setNoDelay(noDelay);
  }

  setKeepAlive(keepAlive = true): void {
    this.#socket.setKeepAlive(keepAlive);
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #next(maxBytes: number): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#isClosed) throw closed("Connection");
      const available = Math.min(this.#socket.readableLength, maxBytes);
      const chunk = this.#socket.read(available > 0 ? available : undefined);
      if (chunk) return chunk;
      if (this.#isEnded) return undefined;
      if (this.#socket.destroyed) throw this.#socket.errored ?? closed("Connection");
      await this.#changed.promise;
    }
  }
}

class HttpServer implements DenoHttpServer {
  #front!: Front<Socket, Handshakes>;
  readonly #startInner: () => NativeServer;
  readonly #innerFinished: Promise<void>;
  readonly #peers = new Map<number, Peer>();
  #inner: NativeServer;
  #isClosed = false;
  #isRef = true;

  private constructor(options: object, handler: DenoServeHandler, report: (error: unknown) => void) {
    this.#startInner = () =>
      Deno.serve(options, (request, info) => {
        const peer = this.#peers.get(info.remoteAddr.port);
        if (!peer) return new Response(null, { status: 421 });
        return handler(secured(request), new HandlerInfo(peer, info));
      });
    this.#inner = this.#startInner();
    this.#innerFinished = this.#keepInner(report);
  }

  static async open(state: TlsState, options: DenoServeOptions, handler: DenoServeHandler): Promise<HttpServer> {
    const { port = 8000, hostname = "0.0.0.0", tcpBacklog, onListen, drainTimeoutMs: _, onTlsError: __, ...rest } =
      options;
    requireNet(hostname, port);
    requireNet("127.0.0.1");
    const innerOptions = { ...rest, hostname: "127.0.0.1", port: 0, onListen: () => {} };
    const server = new HttpServer(innerOptions, handler, reporter(options));
    const onSecure = (secure: TLSSocket, peer: Peer) => carry(secure, peer, server.#inner.addr.port, server.#peers);
    const start = async (acceptor: TlsAcceptor) => {
      const http = forHttp(acceptor);
      await proveTlsConfig(http.config);
      return new Handshakes(http, options, onSecure);
    };
    const listen = listenNet({ hostname, port, backlog: tcpBacklog });
    try {
      server.#front = await Front.open(state, { listen, start }, options);
    } catch (error) {
      await server.#closeInner();
      throw error;
    }
    const { signal } = options;
    if (signal?.aborted) server.#front.destroy();
    else signal?.addEventListener("abort", () => server.#front.destroy(), { once: true });
    onListen?.(server.addr);
    return server;
  }

  get addr(): DenoNetAddr {
    return { transport: "tcp", ...this.#front.address };
  }

  get finished(): Promise<void> {
    return Promise.all([this.#innerFinished, this.#front.finished]).then(() => {});
  }

  get generations(): readonly Generation[] {
    return this.#front.generations;
  }

  async shutdown(): Promise<void> {
    this.#front.close();
    await this.#closeInner();
    await this.finished;
  }

  ref(): void {
    this.#isRef = true;
    this.#front.ref();
    this.#inner.ref();
  }

  unref(): void {
    this.#isRef = false;
    this.#front.unref();
    this.#inner.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #closeInner(): Promise<void> {
    this.#isClosed = true;
    await this.#inner.shutdown();
  }

  /** `Deno.serve` dies when it has no file descriptor left for a connection. */
  async #keepInner(report: (error: unknown) => void): Promise<void> {
    let isDead = false;
    while (!this.#isClosed) {
      try {
        if (isDead) this.#inner = this.#startInner();
        if (!this.#isRef) this.#inner.unref();
        isDead = false;
        return await this.#inner.finished;
      } catch (error) {
        if (!isDead) report(error);
        isDead = true;
        await delay(RESTART_EVERY_MS, undefined, { ref: this.#isRef });
      }
    }
  }
}

/** A class, as the native object makes its promise only when it is asked for it. */
class HandlerInfo implements DenoServeHandlerInfo {
  readonly #peer: Peer;
  readonly #native: DenoServeHandlerInfo;

  constructor(peer: Peer, native: DenoServeHandlerInfo) {
    this.#peer = peer;
    this.#native = native;
  }

  get remoteAddr(): DenoNetAddr {
    return netAddr(this.#peer);
  }

  get completed(): Promise<void> {
    return this.#native.completed;
  }
}

/** The same with the protocols of HTTP, where the configuration names none. */
function forHttp(acceptor: TlsAcceptor): TlsAcceptor {
  const { config, generation } = acceptor;
  if (config.alpnProtocols.length > 0) return acceptor;
  const { minVersion, clientAuth } = config;
  const { cert, key, ca = [] } = tlsOptions(config);
  const auth = clientAuth && { clientAuth: { mode: clientAuth.mode, ca: ca.join("") } };
  return new TlsAcceptor(
    new TlsConfig({ cert, key, alpnProtocols: HTTP_PROTOCOLS, minVersion, ...auth }),
    generation,
  );
}

/** Changed in place: a new `Request` would halve the throughput and could not become a WebSocket. */
function secured(request: Request): Request {
  const url = request.url.replace(/^http:/, "https:");
  return Object.defineProperties(request, { url: { value: url }, clone: { value: clone } });
}

function clone(this: Request): Request {
  return secured(Request.prototype.clone.call(this));
}

function netAddr({ address, port }: Peer): DenoNetAddr {
  return { transport: "tcp", hostname: address, port };
}

function closed(what: string): Error {
  return new Deno.errors.BadResource(`${what} has been closed`);
}

/** Asked for beforehand: a missing one would end the process, as Deno throws it where nobody can catch it. */
function requireNet(hostname: string, port?: number): void {
  const name = hostname.includes(":") ? `[${hostname}]` : hostname;
  const host = port === undefined ? name : `${name}:${port}`;
  if (Deno.permissions.requestSync({ name: "net", host }).state !== "granted") {
    throw unsupported("serve", `it needs the permission --allow-net=${host}`);
  }
}

function requireDeno(action: "listen" | "serve"): void {
  if (typeof Deno !== "undefined") return;
  throw unsupported(action, "it needs Deno; use attach() of ./node, serve() of ./bun, or state.acceptor()");
}
