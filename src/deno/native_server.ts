import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { TlsReloadError } from "../errors.ts";
import type { ListenAddress, NativeRuntime, NativeServer } from "../native/native_server.ts";
import { proveServer } from "../native/proof.ts";
import { startError } from "../native/start_error.ts";
import { unsupported } from "../unsupported.ts";
import { namedServing } from "./internals.ts";
import { requireNative } from "./listen_tls_options.ts";
import { askForAllNames, choosesByName } from "./named_keys.ts";
import { nativeTlsOf } from "./native_tls.ts";
import type { DenoNativeServer, DenoServeHandler } from "./types.ts";

declare const Deno: {
  serve(options: object, handler: DenoServeHandler): DenoNativeServer;
  listenTls(options: object): object;
};

/** Offered where the configuration names no protocols, as by `Deno.serve`. */
const HTTP_PROTOCOLS = ["h2", "http/1.1"];
/** The options of `Deno.serve` that a server of several names has as well. */
const NAMED_OPTIONS = ["onError", "automaticCompression"];

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
  readonly exhausted: Promise<void> | undefined;
  readonly #native: DenoNativeServer;
  /** Undefined once the server is ending: Deno throws at an abort then, where no code can catch it. */
  #abort: AbortController | undefined = new AbortController();
  #shutdown: Promise<void> | undefined;

  /**
   * Starts the server.
   *
   * @param start Calls `Deno.serve`, or what does the same.
   * @param exhausted When another server must take the place of this one.
   */
  constructor(start: (signal: AbortSignal) => DenoNativeServer, exhausted?: Promise<void>) {
    this.#native = started(() => start(this.#abort!.signal));
    this.exhausted = exhausted;
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

/** The options of `Deno.serve` without address, certificate and key. */
export interface DenoHttpSettings {
  readonly onError?: ((error: unknown) => Response | Promise<Response>) | undefined;
  readonly automaticCompression?: boolean | undefined;
}

/** The native HTTP servers of Deno, with the options and the handler that each of them is started with. */
export class DenoHttpRuntime implements NativeRuntime<DenoHttpGeneration> {
  readonly #settings: DenoHttpSettings;
  readonly #handler: DenoServeHandler;
  #isRef = true;

  /**
   * Makes a runtime.
   *
   * @param settings The options of `Deno.serve`.
   * @param handler Answers requests, called by Deno itself.
   */
  constructor(settings: DenoHttpSettings, handler: DenoServeHandler) {
    this.#settings = settings;
    this.#handler = handler;
  }

  start({ config }: TlsAcceptor, address: DenoAddress): DenoHttpGeneration {
    const { options, exhausted } = nativeTlsOf(config);
    if (choosesByName(config)) {
      const tls = { alpnProtocols: HTTP_PROTOCOLS, ...address, ...options };
      return new ServeGeneration((signal) => this.#startNamed(tls, signal), exhausted);
    }
    const all = { ...this.#settings, ...address, ...options, onListen: () => {} };
    return new ServeGeneration((signal) => Deno.serve({ ...all, signal }, this.#handler));
  }

  async prove(server: DenoHttpGeneration, acceptor: TlsAcceptor): Promise<void> {
    await Promise.all([proveServer(server.port, acceptor), askForAllNames(server.port, acceptor.config)]);
  }

  requireServable(config: TlsConfig): void {
    requireNative(config);
    if (!choosesByName(config)) return;
    const given = Object.entries(this.#settings).filter(([, value]) => value !== undefined);
    const option = given.find(([name]) => !NAMED_OPTIONS.includes(name))?.[0];
    if (option) throw unsupported("serve", `a server of several names has no option '${option}'; leave it out`);
    if (!this.#isRef) throw noUnref();
  }

  /** Servers keep the process running, as they do from the start. */
  ref(): void {
    this.#isRef = true;
  }

  /**
   * Servers no longer keep the process running.
   *
   * @param config The current configuration.
   * @throws {TlsReloadError} `UNSUPPORTED` if it chooses by name: what waits for names keeps the process running.
   */
  unref(config: TlsConfig): void {
    if (choosesByName(config)) throw noUnref();
    this.#isRef = false;
  }

  #startNamed(options: object, signal: AbortSignal): DenoNativeServer {
    const { onError = internalServerError, automaticCompression } = this.#settings;
    const listener = Deno.listenTls(options);
    const onListen = () => {};
    return namedServing()!.serveHttpOnListener(
      listener,
      signal,
      this.#handler,
      onError,
      onListen,
      automaticCompression,
    );
  }
}

function noUnref(): TlsReloadError {
  return unsupported("unref server", 'a server of several names keeps the process running; use mechanism: "front"');
}

/** What `Deno.serve` does with the error of a handler. */
function internalServerError(error: unknown): Response {
  console.error(error);
  return new Response("Internal Server Error", { status: 500 });
}

function started(start: () => DenoNativeServer): DenoNativeServer {
  try {
    return start();
  } catch (cause) {
    throw startError(cause, "Deno.serve");
  }
}
