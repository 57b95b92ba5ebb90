import type { DrainLimits } from "../accept/drain_options.ts";
import type { Generation } from "../accept/live_connections.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { SocketAddress } from "../kernel/kernel.ts";

/** How connections reach the native server of a generation. */
export type Mechanism = "handoff" | "front";

/** Where and how a server listens. */
export interface ListenAddress {
  /** The address, all of the machine without it. */
  readonly hostname?: string | undefined;
  /** The port, 0 for one that is free. */
  readonly port: number;
  /** How many connections the system may queue. */
  readonly backlog?: number | undefined;
  /** Whether other processes may listen there too, on Linux. */
  readonly reusePort?: boolean | undefined;
  /** Whether an IPv6 address accepts no IPv4. */
  readonly ipv6Only?: boolean | undefined;
}

/** Where every server of a handoff starts, except the one that listens first. */
export const LOOPBACK: ListenAddress = { hostname: "127.0.0.1", port: 0 };

/** The native server of one generation. */
export interface NativeServer {
  /** The port that the runtime reports. */
  readonly port: number;
  /** Resolves when the server has ended; rejects if it ended by itself, such as `Deno.serve` without a descriptor. */
  readonly ended: Promise<void>;
  /**
   * Resolves when clients have filled its memory, so that another server of the same configuration must take its place.
   * Its connections continue.
   */
  readonly exhausted?: Promise<void> | undefined;
  /**
   * Begins to end its connections gently, spread over `gentleMs`, as far as the runtime can. Called once, when they are
   * to end; {@linkcode NativeServer.stop} follows.
   */
  endConnections?(limits: DrainLimits): void;
  /** Whether each client is judged again after a swap, so that the drain of a whole generation must not end others. */
  readonly knowsClients?: boolean | undefined;
  /**
   * Refuses every request from now on. Called when a swap takes trust away, if the runtime does not show its clients:
   * a handshake that ends after the swap must not let in a client that the new configuration refuses.
   */
  refuseRequests?(): void;
  /** Ends it at once. Called when its last connection has ended, or when its drain is over. */
  stop(): void;
  /** Keeps the process running. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
}

/** Starts and proves the native servers of a runtime. */
export interface NativeRuntime<Server extends NativeServer> {
  /**
   * Starts a server with the configuration of an acceptor. Synchronous, because the handoff looks for the listening
   * descriptor in the same turn of the event loop.
   *
   * @param acceptor The configuration and its generation.
   * @param address The public address for the server that listens first, 127.0.0.1 and port 0 for every other one: for
   * the server that proves the first configuration, and for each later generation.
   */
  start(acceptor: TlsAcceptor, address: ListenAddress): Server;
  /** Completes a handshake with the port of a server and compares the certificate; rejects with `CONFIG_UNUSABLE`. */
  prove(server: Server, acceptor: TlsAcceptor): Promise<void>;
  /**
   * Throws `UNSUPPORTED` if the native server cannot serve this configuration. Called before a swap changes anything.
   */
  requireServable(config: TlsConfig): void;
}

export type { Generation } from "../accept/live_connections.ts";

/** The native servers of all generations behind one public address, whatever the mechanism. */
export interface ServingGenerations<Server> {
  /** How connections reach the newest server. */
  readonly mechanism: Mechanism;
  /** Why this mechanism is used, such as `handoff: Linux with FFI` or `front: no permission --allow-ffi`. */
  readonly mechanismReason: string;
  /** The public address. */
  readonly address: SocketAddress;
  /** The generations that hold connections, oldest first; the last one gets the next connection. */
  readonly generations: readonly Generation[];
  /** The servers of these generations, in the same order. */
  readonly servers: readonly Server[];
  /** Resolves when it has been closed and the last connection has ended. */
  readonly finished: Promise<void>;
  /** Stops listening. Open connections continue. */
  close(): void;
  /** Closes, and ends every connection. */
  destroy(): void;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
}
