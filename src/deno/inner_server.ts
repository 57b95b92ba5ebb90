import { once } from "node:events";
import type { Socket } from "node:net";
import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import { TlsReloadError } from "../errors.ts";
import { NativeResponse } from "../native/native_response.ts";
import { type Peer, peerAt, type Peers } from "../native/peers.ts";
import { connectInner } from "../native/relay.ts";
import { type DenoHttpGeneration, ServeGeneration } from "./native_server.ts";
import type { DenoNativeServer, DenoNetAddr, DenoServeHandler, DenoServeHandlerInfo } from "./types.ts";

declare const Deno: { serve(options: object, handler: DenoServeHandler): DenoNativeServer };

/** How requests are answered. */
export interface HttpHandlers {
  /** Answers requests. */
  readonly handler: DenoServeHandler;
  /** Answers when the handler has thrown. */
  readonly onError?: ((error: unknown) => Response | Promise<Response>) | undefined;
}

const RESTART_EVERY_MS = 100;
/** RFC 9110 section 15.5.20: the request was directed to a server that does not produce an answer for it. */
const MISDIRECTED = 421;

/**
 * The HTTP server behind a front: one `Deno.serve` without TLS on the loopback interface. It is started again when it
 * ends by itself, as it does when no descriptor is free for a connection.
 *
 * Invariant: at most one `Deno.serve` runs. Its requests are decrypted, so {@linkcode InnerServer.connect} gives a
 * connection only if the server still listens after the connection was made: then no other process can have taken the
 * port before. Direct connections of other processes are answered with 421 and reach no handler, because {@linkcode
 * InnerServer.peers} does not have their port.
 */
export class InnerServer implements DenoHttpGeneration {
  /** The clients behind the connections to this server. */
  readonly peers: Peers = new Map();
  readonly ended: Promise<void>;
  readonly #start: () => ServeGeneration;
  readonly #report: (error: unknown) => void;
  /** Undefined while no server listens. */
  #running: ServeGeneration | undefined;
  #isEnding = false;

  /** Starts the server. */
  constructor({ handler, onError }: HttpHandlers, report: (error: unknown) => void) {
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...(onError && { onError }) };
    const answer: DenoServeHandler = (request, info) => this.#answer(handler, request, info);
    this.#start = () => new ServeGeneration((signal) => Deno.serve({ ...options, signal }, answer));
    this.#report = report;
    const first = this.#started();
    this.#running = first;
    this.ended = this.#keepRunning(first);
  }

  get port(): number {
    return this.#running?.port ?? 0;
  }

  /**
   * Connects to the server.
   *
   * @returns The connection, on which nothing was sent. Rejects if the server has ended.
   */
  async connect(): Promise<Socket> {
    const server = this.#running;
    if (!server) throw new Error("Cannot connect to inner server: it does not listen");
    const connection = connectInner(server.port);
    try {
      await once(connection, "connect");
      // A server that ended before the connection was made is reported within the next turn of the event loop.
      await nextTurn();
      if (this.#running !== server) throw new Error("Cannot connect to inner server: it has ended");
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  async shutdown(): Promise<void> {
    this.#isEnding = true;
    const server = this.#running;
    this.#running = undefined;
    await server?.shutdown();
    await this.ended;
  }

  stop(): void {
    this.#isEnding = true;
    const server = this.#running;
    this.#running = undefined;
    server?.stop();
  }

  // The public listener and its connections keep the process running.
  ref(): void {}
  unref(): void {}

  async #keepRunning(first: ServeGeneration): Promise<void> {
    let server: ServeGeneration | undefined = first;
    while (!this.#isEnding) {
      const error = await endOf(server);
      this.#running = undefined;
      // One report for each server that ended, however long no other one starts.
      if (this.#isEnding) return;
      if (server) this.#report(error);
      await delay(RESTART_EVERY_MS, undefined, { ref: false });
      if (!this.#isEnding) server = this.#restarted();
    }
  }

  /** Undefined while no descriptor is free for a listener. */
  #restarted(): ServeGeneration | undefined {
    try {
      this.#running = this.#started();
    } catch {
      this.#running = undefined;
    }
    return this.#running;
  }

  /** The public listener and its connections keep the process running. */
  #started(): ServeGeneration {
    const server = this.#start();
    server.unref();
    return server;
  }

  #answer(handler: DenoServeHandler, request: Request, info: DenoServeHandlerInfo): Response | Promise<Response> {
    const { hostname: address, port } = info.remoteAddr;
    const peer = peerAt(this.peers, { address, port });
    if (!peer) return new NativeResponse(null, { status: MISDIRECTED });
    return handler(withHttpsUrl(request), new FrontHandlerInfo(peer, info));
  }
}

/** The error with which a server ended. */
async function endOf(server: ServeGeneration | undefined): Promise<unknown> {
  try {
    await server?.ended;
  } catch (error) {
    return error;
  }
  return new TlsReloadError("CONFIG_UNUSABLE", "Cannot serve: the inner Deno.serve is not listening");
}

/** A class, because the native object creates its promise only when it is asked for it. */
class FrontHandlerInfo implements DenoServeHandlerInfo {
  readonly remoteAddr: DenoNetAddr;
  readonly #native: DenoServeHandlerInfo;

  constructor({ address: hostname, port }: Peer, native: DenoServeHandlerInfo) {
    this.remoteAddr = { transport: "tcp", hostname, port };
    this.#native = native;
  }

  get completed(): Promise<void> {
    return this.#native.completed;
  }
}

/** Changes the request in place: a new `Request` would halve the throughput and could not become a WebSocket. */
function withHttpsUrl(request: Request): Request {
  const url = request.url.replace(/^http:/, "https:");
  return Object.defineProperties(request, { url: { value: url }, clone: { value: cloneWithHttpsUrl } });
}

function cloneWithHttpsUrl(this: Request): Request {
  return withHttpsUrl(Request.prototype.clone.call(this));
}
