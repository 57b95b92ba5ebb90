import type { Generation, Mechanism } from "../native/native_server.ts";
import type { ServingOptions } from "../native/serving_options.ts";

/** `Deno.NetAddr`. */
export interface DenoNetAddr {
  /** The transport. */
  readonly transport: "tcp";
  /** The address, as text. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/** Where and how `listenTls()` and `serve()` accept connections. */
export interface DenoAcceptOptions extends ServingOptions {
  /**
   * The address to listen on.
   *
   * @default {"0.0.0.0"}
   */
  readonly hostname?: string | undefined;
  /**
   * How many connections the system may queue.
   *
   * @default {511}
   */
  readonly tcpBacklog?: number | undefined;
  /** Whether others may listen there too, on Linux. Without the flag `--unstable-net` of Deno, the front is used. */
  readonly reusePort?: boolean | undefined;
  /**
   * How long a client may take for its handshake. The native servers of Deno close no connection that is silent, so
   * with this option the front is used.
   *
   * @default {10_000}
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Called with the error of each connection whose handshake fails or whose client is refused. `Deno.serve` does not
   * report these, so with this option `serve()` uses the front.
   *
   * @default Ignored, because clients can cause any number of these.
   */
  readonly onClientError?: ((error: unknown) => void) | undefined;
}

/** The options of `Deno.listenTls`, without certificate and key, which come from the state. */
export interface DenoListenTlsOptions extends DenoAcceptOptions {
  /** The port, 0 for a free one. */
  readonly port: number;
}

/** `Deno.TlsConn`. Small writes leave at once (`TCP_NODELAY`). */
export interface DenoTlsConn extends Disposable {
  /** Reads into an array; resolves to the number of bytes, or to `null` at the end. */
  read(p: Uint8Array): Promise<number | null>;
  /** Writes an array; resolves to the number of bytes. */
  write(p: Uint8Array): Promise<number>;
  /** Closes the connection. */
  close(): void;
  /** Ends the written direction, and leaves the other one open. */
  closeWrite(): Promise<void>;
  /** The handshake, which is complete. */
  handshake(): Promise<{ alpnProtocol: string | null }>;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
  /** The address of the client. */
  readonly remoteAddr: DenoNetAddr;
  /** The address of the server. */
  readonly localAddr: DenoNetAddr;
  /** The received bytes. */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** The bytes to send. */
  readonly writable: WritableStream<Uint8Array<ArrayBufferLike>>;
}

/** `Deno.TlsListener`. */
export interface DenoTlsListener extends AsyncIterable<DenoTlsConn>, Disposable {
  /** How connections reach the newest native listener. */
  readonly mechanism: Mechanism;
  /** Why this mechanism is used. */
  readonly mechanismReason: string;
  /** The address in use. */
  readonly addr: DenoNetAddr;
  /** The generations that hold connections, oldest first; the last one gets the next connection. */
  readonly generations: readonly Generation[];
  /** The next connection whose handshake is complete. */
  accept(): Promise<DenoTlsConn>;
  /** Stops listening. Accepted connections continue. */
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

/** The options of `Deno.serve`, without certificate and key, which come from the state. */
export interface DenoServeOptions extends DenoAcceptOptions {
  /**
   * The port to listen on, 0 for a free one.
   *
   * @default {8000}
   */
  readonly port?: number | undefined;
  /** Stops the server and closes its connections. */
  readonly signal?: AbortSignal | undefined;
  /** Answers when the handler has thrown. */
  readonly onError?: ((error: unknown) => Response | Promise<Response>) | undefined;
  /** Called once, when the server listens. By default nothing is printed. */
  readonly onListen?: ((localAddr: DenoNetAddr) => void) | undefined;
  /**
   * Whether response bodies are compressed. Not supported by the front.
   *
   * @default {false}
   */
  readonly automaticCompression?: boolean | undefined;
}

/** `Deno.HttpServer`. */
export interface DenoHttpServer extends AsyncDisposable {
  /** How connections reach the newest native server. */
  readonly mechanism: Mechanism;
  /** Why this mechanism is used. */
  readonly mechanismReason: string;
  /** The public address. */
  readonly addr: DenoNetAddr;
  /** Resolves when the server has stopped and its last connection has ended. */
  readonly finished: Promise<void>;
  /** The generations that hold connections, oldest first; the last one gets the next connection. */
  readonly generations: readonly Generation[];
  /** Stops listening, closes idle connections, and waits for the others. */
  shutdown(): Promise<void>;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
}

/** The part of `Deno.HttpServer` that this module uses. */
export interface DenoNativeServer {
  readonly addr: { readonly hostname: string; readonly port: number };
  readonly finished: Promise<void>;
  shutdown(): Promise<void>;
  ref(): void;
  unref(): void;
}
