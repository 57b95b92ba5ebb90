import type { Buffer } from "node:buffer";
import type { Generation, Mechanism } from "../native/native_server.ts";
import type { ServingOptions } from "../native/serving_options.ts";

/** The part of `ServerWebSocket` that this module uses; give `ServerWebSocket<Data>` to `serve()` for all of it. */
export interface BunWebSocket {
  /** The value given to `upgrade()`. */
  data: unknown;
  /** The address of the client. */
  readonly remoteAddress: string;
  /** Sends a message. */
  send(message: string | Uint8Array, compress?: boolean): number;
  /** Sends a message to the other subscribers of a topic, in every generation. */
  publish(topic: string, message: string | Uint8Array, compress?: boolean): number;
  /** Subscribes to a topic. */
  subscribe(topic: string): void;
  /** Ends a subscription. */
  unsubscribe(topic: string): void;
  /** Closes the connection. */
  close(code?: number, reason?: string): void;
}

/** The handlers of `Bun.serve({ websocket })`, and its other options. */
export interface BunWebSocketOptions<WebSocket> {
  /** Called when a connection is open. */
  open?(socket: WebSocket): void | Promise<void>;
  /** Called with each message. */
  message?(socket: WebSocket, message: string | Buffer): void | Promise<void>;
  /** Called when more can be sent. */
  drain?(socket: WebSocket): void | Promise<void>;
  /** Called when a connection has ended. */
  close?(socket: WebSocket, code: number, reason: string): void | Promise<void>;
  /** Called with each ping. */
  ping?(socket: WebSocket, data: Buffer): void | Promise<void>;
  /** Called with each pong. */
  pong?(socket: WebSocket, data: Buffer): void | Promise<void>;
  /** Called when a handler has thrown. */
  error?(error: Error, socket: WebSocket): void | Promise<void>;
  /** The type of `data` of a connection, not its value. */
  readonly data?: unknown;
  /** The longest message, in bytes. */
  readonly maxPayloadLength?: number | undefined;
  /** How many bytes may wait to be sent. */
  readonly backpressureLimit?: number | undefined;
  /** Whether a connection is closed when more than these wait. */
  readonly closeOnBackpressureLimit?: boolean | undefined;
  /** How many seconds a connection may be idle. */
  readonly idleTimeout?: number | undefined;
  /** Whether a connection gets what it publishes. */
  readonly publishToSelf?: boolean | undefined;
  /** Whether Bun sends pings. */
  readonly sendPings?: boolean | undefined;
  /** Whether, and how, messages are compressed. */
  readonly perMessageDeflate?: boolean | object | undefined;
}

/** The request of a route, with the values of `:name` in its path. */
export interface BunRequest extends Request {
  /** The parameters of the path. */
  readonly params: Readonly<Record<string, string>>;
}

/** Answers requests. */
export type BunHandler<Incoming extends Request = Request> = (
  this: BunServer,
  request: Incoming,
  server: BunServer,
) => Response | undefined | void | Promise<Response | undefined | void>;

/** Answers a path: a handler, a `Response`, either for each method, or an HTML import. */
export type BunRoute =
  | BunHandler<BunRequest>
  | Readonly<Record<string, BunHandler<BunRequest> | Response>>
  | object
  | false;

/** The options of `Bun.serve` that `reload()` of the server can change. */
export interface BunHandlers<WebSocket = BunWebSocket> {
  /** Answers requests that no route answers. */
  readonly fetch?: BunHandler | undefined;
  /** The routes by path. */
  readonly routes?: Readonly<Record<string, BunRoute>> | undefined;
  /** Serves WebSockets. */
  readonly websocket?: BunWebSocketOptions<WebSocket> | undefined;
  /** Answers when a handler has thrown. */
  readonly error?: ((this: BunServer, error: Error) => Response | void | Promise<Response | void>) | undefined;
}

/** The options of `Bun.serve`, without `tls`, which comes from the state, `unix` and `http3`. */
export interface BunServeOptions<WebSocket = BunWebSocket> extends BunHandlers<WebSocket>, ServingOptions {
  /**
   * The port to listen on, 0 for a free one. By default the value of `BUN_PORT`, `PORT` or `NODE_PORT` in the
   * environment, else 3000.
   */
  readonly port?: number | string | undefined;
  /** The address to listen on. By default all addresses. */
  readonly hostname?: string | undefined;
  /** Whether other processes may listen there too, on Linux. */
  readonly reusePort?: boolean | undefined;
  /** Whether an IPv6 address accepts no IPv4. */
  readonly ipv6Only?: boolean | undefined;
  /** Any other option of `Bun.serve`, such as `idleTimeout` and `maxRequestBodySize`. */
  readonly [option: string]: unknown;
}

/** The server that `serve()` returns: the `Server` of `Bun.serve`, over all generations of its certificate. */
export interface BunServer extends AsyncDisposable, Disposable {
  /** How connections reach the newest native server. */
  readonly mechanism: Mechanism;
  /** Why this mechanism is used. */
  readonly mechanismReason: string;
  /** The public port. */
  readonly port: number;
  /** The public address. */
  readonly hostname: string;
  /** The address in use. */
  readonly address: BunSocketAddress;
  /** The URL of the server. */
  readonly url: URL;
  /** Always `https`. */
  readonly protocol: "https";
  /** Whether Bun is in its development mode. */
  readonly development: boolean;
  /** The identifier of the newest native server. */
  readonly id: string;
  /** The generations that hold connections, oldest first; the last one gets the next connection. */
  readonly generations: readonly Generation[];
  /** The number of requests that are being answered. */
  readonly pendingRequests: number;
  /** The number of open WebSockets. */
  readonly pendingWebSockets: number;
  /** Calls the handlers without a connection. */
  fetch(request: Request | string): Promise<Response>;
  /** Closes idle connections; returns how many. */
  closeIdleConnections(): number;
  /** Sends a message to all subscribers of a topic. Returns bytes, 0 if none was sent, -1 if one had to wait. */
  publish(topic: string, message: BunMessage, compress?: boolean): number;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
  /** Replaces the handlers. The certificate is replaced by `swap()` of the state. */
  reload<WebSocket = BunWebSocket>(handlers: BunHandlers<WebSocket>): BunServer;
  /** The address of the client; `null` once the connection has ended. */
  requestIP(request: Request): BunSocketAddress | null;
  /**
   * Stops listening and closes idle connections.
   *
   * @param closeActiveConnections Whether to close all other connections too.
   * @returns Resolves when the last connection has ended.
   */
  stop(closeActiveConnections?: boolean): Promise<void>;
  /** The number of subscribers to a topic. */
  subscriberCount(topic: string): number;
  /** Changes how long a request may be idle. */
  timeout(request: Request, seconds: number): void;
  /** Makes a WebSocket of a request; returns `false` if the request does not ask for one. */
  upgrade(request: Request, options?: { readonly headers?: BunHeaders; readonly data?: unknown }): boolean;
}

/** What `new Headers()` takes. The types of Node have no name for it. */
export type BunHeaders = Headers | Iterable<readonly string[]> | Readonly<Record<string, string | readonly string[]>>;

/** A message of a WebSocket. */
export type BunMessage = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer | Blob;

/** The address of a client, as `requestIP()` returns it. */
export interface BunSocketAddress {
  /** The address, as text. */
  readonly address: string;
  /** The port. */
  readonly port: number;
  /** The address family. */
  readonly family: "IPv4" | "IPv6";
}

/** The part of `Bun.Server` that this module uses. */
export interface BunNativeServer {
  readonly port: number;
  readonly id: string;
  readonly development: boolean;
  readonly pendingRequests: number;
  readonly pendingWebSockets: number;
  closeIdleConnections(): number;
  fetch(request: Request | string): Response | Promise<Response>;
  publish(topic: string, message: BunMessage, compress?: boolean): number;
  ref(): void;
  reload(options: object): void;
  requestIP(request: Request): BunSocketAddress | null;
  stop(closeActiveConnections?: boolean): Promise<void>;
  subscriberCount(topic: string): number;
  timeout(request: Request, seconds: number): void;
  unref(): void;
  upgrade(request: Request, options?: object): boolean;
}
