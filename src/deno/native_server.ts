import type { DrainLimits } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { TlsReloadError } from "../errors.ts";
import { closeAfter, DrainMoments } from "../native/gentle_end.ts";
import { NativeResponse } from "../native/native_response.ts";
import type { ListenAddress, NativeRuntime, NativeServer } from "../native/native_server.ts";
import { proveServer } from "../native/proof.ts";
import { startNative } from "../native/start_native.ts";
import { unsupported } from "../unsupported.ts";
import { askForNames } from "./ask_for_names.ts";
import { namedServing } from "./internals.ts";
import { choosesByName } from "./named_keys.ts";
import { nativeListenOptions, requireNative } from "./tls_options.ts";
import type { DenoNativeServer, DenoServeHandler, DenoServeHandlerInfo, DenoServeOptions } from "./types.ts";

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

/** What a server and its handler share, because Deno cannot replace the handler of a server that runs. */
interface Ending {
  /** Whether the response to a request is the last one of its connection, once connections end. */
  ends: ((info: DenoServeHandlerInfo) => boolean) | undefined;
}

/**
 * One `Deno.serve`.
 *
 * Invariant: the server is told to end once, by `shutdown()` or by `stop()`, and never after it has ended by itself.
 */
export class ServeGeneration implements DenoHttpGeneration {
  readonly ended: Promise<void>;
  readonly exhausted: Promise<void> | undefined;
  readonly #native: DenoNativeServer;
  readonly #ending: Ending | undefined;
  /** Undefined once the server is ending: Deno throws at an abort then, where no code can catch it. */
  #abort: AbortController | undefined = new AbortController();
  #shutdown: Promise<void> | undefined;

  /**
   * Starts the server.
   *
   * @param start Calls `Deno.serve`, or what does the same.
   * @param ending What it shares with its handler, if connections of replaced generations end.
   * @param exhausted When another server must take the place of this one.
   */
  constructor(start: (signal: AbortSignal) => DenoNativeServer, ending?: Ending, exhausted?: Promise<void>) {
    this.#ending = ending;
    this.#native = startNative("Deno.serve", () => start(this.#abort!.signal));
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

  endConnections({ gentleMs }: DrainLimits): void {
    if (!this.#ending) return;
    const moments = new DrainMoments(gentleMs);
    this.#ending.ends = ({ remoteAddr: { hostname, port } }) => moments.hasCome(hostname, port);
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
  readonly #options: Pick<DenoServeOptions, "onError" | "automaticCompression">;
  readonly #handler: DenoServeHandler;
  readonly #drains: boolean;
  #isRef = true;

  /**
   * Makes a runtime.
   *
   * @param options The options of `Deno.serve` without address, certificate and key.
   * @param handler Answers requests, called by Deno itself.
   * @param drains Whether connections of replaced generations end.
   */
  constructor(
    options: Pick<DenoServeOptions, "onError" | "automaticCompression">,
    handler: DenoServeHandler,
    drains: boolean,
  ) {
    this.#options = options;
    this.#handler = handler;
    this.#drains = drains;
  }

  start({ config }: TlsAcceptor, address: ListenAddress): DenoHttpGeneration {
    const { options, exhausted } = nativeListenOptions(config, address);
    const ending: Ending = { ends: undefined };
    const handler = this.#drains ? endingHandler(this.#handler, ending) : this.#handler;
    if (choosesByName(config)) {
      const listenOptions = { alpnProtocols: HTTP_PROTOCOLS, ...options };
      return new ServeGeneration((signal) => this.#startNamed(listenOptions, handler, signal), ending, exhausted);
    }
    const all = { ...this.#options, ...options, onListen: () => {} };
    return new ServeGeneration((signal) => Deno.serve({ ...all, signal }, handler), ending);
  }

  async prove(server: DenoHttpGeneration, acceptor: TlsAcceptor): Promise<void> {
    await Promise.all([proveServer(server.port, acceptor), askForNames(server.port, acceptor.config)]);
  }

  requireServable(config: TlsConfig): void {
    requireNative(config);
    if (!choosesByName(config)) return;
    const given = Object.entries(this.#options).filter(([, value]) => value !== undefined);
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
   * @throws {TlsReloadError} `UNSUPPORTED` if it chooses by name: what waits for names keeps the process running.
   */
  unref(config: TlsConfig): void {
    if (choosesByName(config)) throw noUnref();
    this.#isRef = false;
  }

  #startNamed(listenOptions: object, handler: DenoServeHandler, signal: AbortSignal): DenoNativeServer {
    const { onError = internalServerError, automaticCompression } = this.#options;
    const listener = Deno.listenTls(listenOptions);
    const { serveHttpOnListener } = namedServing()!;
    return serveHttpOnListener(listener, signal, handler, onError, () => {}, automaticCompression);
  }
}

function endingHandler(handler: DenoServeHandler, ending: Ending): DenoServeHandler {
  return (request, info) => {
    // Asked first, because a request has no address any more once it is upgraded.
    const isLast = ending.ends?.(info);
    const response = handler(request, info);
    return isLast ? closeAfter(response) as Promise<Response> : response;
  };
}

function noUnref(): TlsReloadError {
  return unsupported("unref server", 'a server of several names keeps the process running; use mechanism: "front"');
}

/** Answers as `Deno.serve` does when a handler has thrown. */
function internalServerError(error: unknown): Response {
  console.error(error);
  return new NativeResponse("Internal Server Error", { status: 500 });
}
