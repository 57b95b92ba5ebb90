import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { proveTlsConfig } from "../config/proof.ts";
import { TlsAcceptor } from "../accept/tls_acceptor.ts";
import { TlsConfig } from "../config/tls_config.ts";
import type { TlsState } from "../accept/tls_state.ts";
import {
  type DenoAcceptOptions,
  type DenoNetAddr,
  Handshakes,
  netAddr,
  requireDeno,
  requireNet,
} from "./handshakes.ts";
import { Front, type Generation, reporter } from "../native/front.ts";
import { carry, listenNet } from "../native/net_carrier.ts";
import { type Peer, peerAt } from "../native/peers.ts";

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
export interface DenoServeOptions extends DenoAcceptOptions {
  /**
   * The port to listen on, 0 for one that is free.
   *
   * @default {8000}
   */
  readonly port?: number | undefined;
  /** Stops the server and cuts its connections. */
  readonly signal?: AbortSignal | undefined;
  /** Answers when the handler has thrown. */
  readonly onError?: ((error: unknown) => Response | Promise<Response>) | undefined;
  /** Called when the server listens. */
  readonly onListen?: ((localAddr: DenoNetAddr) => void) | undefined;
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
  serve(
    options: object,
    handler: (request: Request, info: DenoServeHandlerInfo) => Response | Promise<Response>,
  ): NativeServer;
};

/** Options of `Deno.serve` that the state or the front decides. */
const NOT_TAKEN = ["cert", "key", "path", "reusePort"];
const HTTP_PROTOCOLS = ["h2", "http/1.1"];
const RESTART_EVERY_MS = 100;

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

class HttpServer implements DenoHttpServer {
  #front!: Front<Socket, Handshakes>;
  readonly #startInner: () => NativeServer;
  readonly #innerFinished: Promise<void>;
  readonly #peers = new Map<number, Peer>();
  #inner: NativeServer;
  /** Ends the inner server whatever it does; once that is ending or dead, Deno throws at it where nobody can catch it. */
  #innerAbort: AbortController | undefined;
  #innerClosed: Promise<void> | undefined;
  #isClosed = false;
  #isRef = true;

  private constructor(options: object, handler: DenoServeHandler, report: (error: unknown) => void) {
    this.#startInner = () => {
      const { signal } = this.#innerAbort = new AbortController();
      return Deno.serve({ ...options, signal }, (request, info) => {
        const { hostname: address, port } = info.remoteAddr;
        const peer = peerAt(this.#peers, { address, port });
        if (!peer) return new Response(null, { status: 421 });
        return handler(secured(request), new HandlerInfo(peer, info));
      });
    };
    this.#inner = this.#startInner();
    this.#innerFinished = this.#keepInner(report);
  }

  static async open(state: TlsState, options: DenoServeOptions, handler: DenoServeHandler): Promise<HttpServer> {
    const misplaced = NOT_TAKEN.find((name) => name in options);
    if (misplaced) throw new TypeError(`Cannot serve: '${misplaced}' is not an option of this server`);
    const { port = 8000, hostname = "0.0.0.0", tcpBacklog, onListen, signal, ...rest } = options;
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
    const onAbort = () => server.#destroy();
    signal?.addEventListener("abort", onAbort);
    void server.finished.then(() => signal?.removeEventListener("abort", onAbort));
    if (signal?.aborted) onAbort();
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

  #destroy(): void {
    this.#front.destroy();
    this.#isClosed = true;
    this.#innerAbort?.abort();
    this.#innerAbort = undefined;
  }

  #closeInner(): Promise<void> {
    if (!this.#isClosed) this.#innerClosed = this.#inner.shutdown();
    this.#isClosed = true;
    this.#innerAbort = undefined;
    return this.#innerClosed ?? this.#innerFinished;
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
        this.#innerAbort = undefined;
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
  const { certifiedKeys, unknownName, minVersion, maxVersion, ciphers, ecdhCurve, clientAuth } = config;
  const auth = clientAuth &&
    { clientAuth: { mode: clientAuth.mode, ca: clientAuth.ca.map(({ pem }) => pem).join("") } };
  const settings = { alpnProtocols: HTTP_PROTOCOLS, unknownName, minVersion, maxVersion, ciphers, ecdhCurve };
  return new TlsAcceptor(new TlsConfig({ certifiedKeys, ...settings, ...auth }), generation);
}

/** Changed in place: a new `Request` would halve the throughput and could not become a WebSocket. */
function secured(request: Request): Request {
  const url = request.url.replace(/^http:/, "https:");
  return Object.defineProperties(request, { url: { value: url }, clone: { value: clone } });
}

function clone(this: Request): Request {
  return secured(Request.prototype.clone.call(this));
}
