import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { ListenAddress, NativeRuntime, NativeServer } from "../native/native_server.ts";
import { proveServer } from "../native/proof.ts";
import { startError } from "../native/start_error.ts";
import { listenTlsOptions } from "./listen_tls_options.ts";
import type { DenoNativeServer, DenoServeHandler } from "./types.ts";

declare const Deno: { serve(options: object, handler: DenoServeHandler): DenoNativeServer };

/** The HTTP server of one generation. */
export interface DenoHttpGeneration extends NativeServer {
  /** Stops listening, closes idle connections, and waits for the others. */
  shutdown(): Promise<void>;
}

/** Where and how the first generation listens. */
export interface DenoAddress extends ListenAddress {
  /** How many connections the system may queue. */
  readonly tcpBacklog?: number | undefined;
  /** Whether other processes may listen there too, on Linux. */
  readonly reusePort?: boolean | undefined;
}

/** One `Deno.serve`. */
export class ServeGeneration implements DenoHttpGeneration {
  readonly ended: Promise<void>;
  readonly #native: DenoNativeServer;
  /** Undefined once the server is ending: Deno throws at an abort then, where no code can catch it. */
  #abort: AbortController | undefined = new AbortController();
  #shutdown: Promise<void> | undefined;

  constructor(options: object, handler: DenoServeHandler) {
    this.#native = started({ ...options, signal: this.#abort!.signal }, handler);
    this.ended = this.#native.finished.finally(() => this.#abort = undefined);
    this.ended.catch(() => {});
  }

  get port(): number {
    return this.#native.addr.port;
  }

  shutdown(): Promise<void> {
    if (!this.#abort) return this.#shutdown ?? this.ended.catch(() => {});
    this.#abort = undefined;
    this.#shutdown = this.#native.shutdown();
    return this.#shutdown;
  }

  stop(): void {
    this.#abort?.abort();
    this.#abort = undefined;
  }

  ref(): void {
    this.#native.ref();
  }

  unref(): void {
    this.#native.unref();
  }
}

/** The native HTTP servers of Deno, with the options and the handler that each of them is started with. */
export class DenoHttpRuntime implements NativeRuntime<DenoHttpGeneration> {
  readonly #options: object;
  readonly #handler: DenoServeHandler;

  /**
   * Makes a runtime.
   *
   * @param options The options of `Deno.serve` without address, certificate and key.
   * @param handler Answers requests, called by Deno itself.
   */
  constructor(options: object, handler: DenoServeHandler) {
    this.#options = options;
    this.#handler = handler;
  }

  start({ config }: TlsAcceptor, address: DenoAddress): DenoHttpGeneration {
    const options = { ...this.#options, ...address, ...listenTlsOptions(config), onListen: () => {} };
    return new ServeGeneration(options, this.#handler);
  }

  prove(server: DenoHttpGeneration, acceptor: TlsAcceptor): Promise<void> {
    return proveServer(server.port, acceptor);
  }

  requireServable(config: TlsConfig): void {
    listenTlsOptions(config);
  }
}

function started(options: object, handler: DenoServeHandler): DenoNativeServer {
  try {
    return Deno.serve(options, handler);
  } catch (cause) {
    throw startError(cause, "Deno.serve");
  }
}
