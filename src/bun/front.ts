import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import type { DrainLimits } from "../accept/drain_options.ts";
import type { TlsState } from "../accept/tls_state.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { Front, type FrontOptions } from "../native/front.ts";
import type { Backend } from "../native/front_generations.ts";
import { type ListenAddress, LOOPBACK, type ServingGenerations } from "../native/native_server.ts";
import { peerOf } from "../native/peers.ts";
import { listenOn } from "../native/public_listener.ts";
import { relayToPort } from "../native/relay.ts";
import { unsupported } from "../unsupported.ts";
import type { BunGeneration, BunRuntime } from "./native_server.ts";

/** How long `Bun.serve` may take for its first byte to a client that has ended its side. */
const FIRST_BYTE_TIMEOUT_MS = 500;

/** The options of a front for `Bun.serve`. */
interface BunFrontOptions extends FrontOptions {
  /** Closes the connection of a client that takes no byte for this time while some wait for it. */
  readonly stallTimeoutMs: number;
  /** Called when a generation must refuse connections that do not come through the front. */
  readonly refuseDirectConnections: (generation: BunGeneration) => void;
  /** Throws `UNSUPPORTED` if a front cannot serve this configuration. */
  readonly requireServable: (config: TlsConfig) => void;
}

/**
 * Opens a front for `Bun.serve`: it relays the encrypted bytes of each client to the native server of a generation.
 * Direct connections to the inner port get the same TLS checks, and are refused when the generation is replaced.
 */
export function openBunFront(
  state: TlsState,
  runtime: BunRuntime,
  address: ListenAddress,
  options: BunFrontOptions,
): Promise<ServingGenerations<BunGeneration>> {
  return Front.open(state, {
    hidesClients: true,
    listen: listenOn(address),
    requireServable(config) {
      options.requireServable(config);
      runtime.requireServable(config);
    },
    requireAlpnChallenges() {
      throw unsupported("answer ALPN challenge", "Bun.serve chooses its certificate by itself; use state.acceptor()");
    },
    async start(acceptor) {
      options.requireServable(acceptor.config);
      const server = runtime.start(acceptor, LOOPBACK);
      // The public listener and its connections keep the process running.
      server.unref();
      try {
        await runtime.prove(server, acceptor);
      } catch (error) {
        server.stop();
        throw error;
      }
      return new RelayBackend(server, options);
    },
  }, options);
}

/** Relays clients to one native server. */
class RelayBackend implements Backend<BunGeneration> {
  readonly server: BunGeneration;
  readonly #options: BunFrontOptions;
  readonly #clients = new Set<Socket>();

  constructor(server: BunGeneration, options: BunFrontOptions) {
    this.server = server;
    this.#options = options;
    server.closeSilentClients = () => {
      for (const client of this.#clients) if (client.bytesRead === 0) client.destroy();
    };
  }

  serve(client: Socket): void {
    this.#clients.add(client);
    client.once("close", () => this.#clients.delete(client));
    const { port, peers } = this.server;
    const inner = relayToPort(client, peerOf(client), port, peers, this.#options);
    closeWhenUnanswered(client, inner);
  }

  refuseRequests(): void {
    this.server.refuseRequests();
  }

  endConnections(limits: DrainLimits): void {
    this.server.endConnections(limits);
  }

  refuseDirectConnections(): void {
    if (this.server.isRefusingDirectConnections) return;
    this.server.isRefusingDirectConnections = true;
    this.#options.refuseDirectConnections(this.server);
  }

  stop(): void {
    this.server.stop();
  }
}

/**
 * `Bun.serve` answers a TLS client at once, unless it has no descriptor left to accept it with. Without this, clients
 * that have gone would keep the descriptors that it waits for.
 */
function closeWhenUnanswered(client: Socket, inner: Socket): void {
  client.once("end", () => {
    if (inner.bytesRead > 0) return;
    if (client.bytesRead === 0) return void client.destroy();
    const timer = setTimeout(() => {
      if (inner.bytesRead === 0) client.destroy();
    }, FIRST_BYTE_TIMEOUT_MS).unref();
    client.once("close", () => clearTimeout(timer));
  });
}
