import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { proveTlsConfig } from "../config/proof.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsState } from "../accept/tls_state.ts";
import {
  type DenoAcceptOptions,
  type DenoNetAddr,
  Handshakes,
  netAddr,
  requireDeno,
  requireNet,
} from "./handshakes.ts";
import { Front, type Generation } from "../native/front.ts";
import { destroyLater, listenNet } from "../native/net_carrier.ts";
import type { Peer } from "../native/peers.ts";

/** Where to listen. */
export interface DenoListenTlsOptions extends DenoAcceptOptions {
  /** The port, 0 for one that is free. */
  readonly port: number;
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

declare const Deno: { readonly errors: { readonly BadResource: new (message: string) => Error } };

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

class Listener implements DenoTlsListener {
  #front!: Front<Socket, Handshakes>;
  readonly #ready: Conn[] = [];
  readonly #accepts: PromiseWithResolvers<Conn>[] = [];
  #isClosed = false;

  static async open(state: TlsState, options: DenoListenTlsOptions): Promise<Listener> {
    const { port, hostname = "0.0.0.0", tcpBacklog } = options;
    requireNet(hostname, port);
    const listener = new Listener();
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
    else if (this.#isClosed) conn.close();
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
    // A peer that takes nothing would keep what has been written for ever.
    destroyLater(this.#socket);
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

function closed(what: string): Error {
  return new Deno.errors.BadResource(`${what} has been closed`);
}
