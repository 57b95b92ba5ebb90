import type { DrainLimits } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import type { ListenAddress, NativeRuntime, NativeServer } from "../native/native_server.ts";
import type { Peers } from "../native/peers.ts";
import { proveServer } from "../native/proof.ts";
import { startNative } from "../native/start_native.ts";
import { unsupported } from "../unsupported.ts";
import { BunDrain } from "./drain.ts";
import { tlsOptions } from "./tls_options.ts";
import type { BunNativeServer, BunWebSocket } from "./types.ts";

declare const Bun: { serve(options: object): BunNativeServer };

/**
 * `Bun.serve` of one generation.
 *
 * Invariant: what it refuses, it refuses until it ends; a drain that has begun goes on.
 */
export class BunGeneration implements NativeServer {
  /** The clients that a front relays to this server; empty with the handoff, where clients connect by themselves. */
  readonly peers: Peers = new Map();
  readonly native: BunNativeServer;
  /** Whether requests that do not come through the front are refused. */
  isRefusingDirectConnections = false;
  /** Trust was taken away, and which of its clients are still trusted is not known. */
  isRefusingRequests = false;
  /** The WebSockets that are open, as far as a drain may close them. */
  readonly webSockets = new Set<BunWebSocket>();
  /** Ends its connections, once a drain has begun. */
  drain: BunDrain | undefined;
  /** Closes relayed connections that have sent nothing; set by a front. */
  closeSilentClients: (() => void) | undefined;
  readonly #options: (generation: BunGeneration) => object;
  readonly #ended = Promise.withResolvers<void>();

  /**
   * Starts the server.
   *
   * @param options The options of `Bun.serve` that its `reload()` takes too.
   * @param startOptions The others.
   */
  constructor(options: (generation: BunGeneration) => object, startOptions: object) {
    this.#options = options;
    const all = { ...options(this), ...startOptions };
    this.native = startNative("Bun.serve", () => Bun.serve(all));
  }

  get port(): number {
    return this.native.port;
  }

  /** Bun's server never ends by itself. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  refuseRequests(): void {
    this.isRefusingRequests = true;
    this.native.closeIdleConnections();
    this.native.reload(this.#options(this));
  }

  endConnections(limits: DrainLimits): void {
    this.drain = new BunDrain(this, limits);
    this.native.reload(this.#options(this));
  }

  stop(): void {
    void this.#stop(true);
  }

  /** Stops listening and closes idle connections; the others may finish. */
  async stopGracefully(): Promise<void> {
    this.closeSilentClients?.();
    await this.#stop(false);
  }

  ref(): void {
    this.native.ref();
  }

  unref(): void {
    this.native.unref();
  }

  async #stop(closeActiveConnections: boolean): Promise<void> {
    await this.native.stop(closeActiveConnections);
    this.#ended.resolve();
  }
}

/** The native servers of Bun, with the options that each of them is started with. */
export class BunRuntime implements NativeRuntime<BunGeneration> {
  readonly #options: (generation: BunGeneration) => object;
  readonly #hasAllowClient: boolean;

  /**
   * Makes a runtime.
   *
   * @param options The options of `Bun.serve` without address and `tls`.
   * @param hasAllowClient Whether the state asks a function about clients, which needs their certificates.
   */
  constructor(options: (generation: BunGeneration) => object, hasAllowClient: boolean) {
    this.#options = options;
    this.#hasAllowClient = hasAllowClient;
  }

  start({ config }: TlsAcceptor, { hostname, port, reusePort, ipv6Only }: ListenAddress): BunGeneration {
    this.requireServable(config);
    const tls = tlsOptions(config);
    const address = {
      port,
      ...(hostname !== undefined && { hostname }),
      ...(reusePort && { reusePort }),
      ...(ipv6Only && { ipv6Only }),
    };
    // Without `id: null` and under `--hot`, Bun takes two servers on port 0 for one, and reloads the running one.
    return new BunGeneration(this.#options, { ...address, tls, id: null });
  }

  prove(server: BunGeneration, acceptor: TlsAcceptor): Promise<void> {
    return proveServer(server.port, acceptor);
  }

  requireServable(config: TlsConfig): void {
    tlsOptions(config);
    if (!this.#hasAllowClient || !config.clientAuth) return;
    const alternative = "use state.acceptor() with node:http";
    throw unsupported("serve", `Bun.serve does not show the certificate of a client to allowClient; ${alternative}`);
  }
}
