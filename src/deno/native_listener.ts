import { clearTimeout, setTimeout } from "node:timers";
import { setTimeout as delay } from "node:timers/promises";
import { Drain, type Drainable } from "../accept/drain.ts";
import type { DrainLimits } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { TlsReloadError } from "../errors.ts";
import type { ListenAddress, NativeRuntime, NativeServer } from "../native/native_server.ts";
import { proveServer } from "../native/proof.ts";
import { startNative } from "../native/start_native.ts";
import { guarded } from "../warnings.ts";
import { askForNames } from "./ask_for_names.ts";
import { type NativeListenOptions, nativeListenOptions, requireNative } from "./tls_options.ts";
import type { DenoAcceptOptions, DenoNetAddr, DenoTlsConn } from "./types.ts";

/** The part of `Deno.TlsListener` that this module uses. */
interface NativeTlsListener {
  readonly addr: DenoNetAddr;
  accept(): Promise<DenoTlsConn>;
  close(): void;
  ref(): void;
  unref(): void;
}

/** How connections of a generation are accepted. */
interface AcceptSettings {
  readonly handshakeTimeoutMs: number;
  readonly onClientError?: DenoAcceptOptions["onClientError"];
  /** How many names a listener may be asked for until another one takes its place. */
  readonly maxNames?: number;
  /** Whether connections of replaced generations end. */
  readonly drains: boolean;
}

declare const Deno: {
  listenTls(options: object): NativeTlsListener;
  readonly errors: { readonly BadResource: new () => Error; readonly Interrupted: new () => Error };
};

const RETRY_AFTER_MS = 100;

/**
 * `Deno.listenTls` of one generation, which accepts from its start.
 *
 * Invariant: a connection goes to the application with its handshake complete, or is closed. Connections do not end
 * with their listener; they are remembered, weakly, only where a drain may close them.
 */
export class DenoTlsGeneration implements NativeServer {
  readonly ended: Promise<void>;
  readonly exhausted: Promise<void> | undefined;
  /** Where the connections of proofs come from, which the application does not see. */
  readonly proofPorts = new Set<number>();
  readonly #native: NativeTlsListener;
  readonly #settings: AcceptSettings;
  readonly #onConn: (conn: DenoTlsConn) => void;
  readonly #conns = new Set<WeakRef<DenoTlsConn>>();
  readonly #collected = new FinalizationRegistry((ref: WeakRef<DenoTlsConn>) => this.#conns.delete(ref));
  readonly #drain = new Drain<RememberedConn>();
  #isStopped = false;

  constructor(
    { options, exhausted }: NativeListenOptions,
    settings: AcceptSettings,
    onConn: (conn: DenoTlsConn) => void,
  ) {
    this.#native = startNative("Deno.listenTls", () => Deno.listenTls(options));
    this.exhausted = exhausted;
    this.#settings = settings;
    this.#onConn = onConn;
    this.ended = this.#acceptAll();
  }

  get port(): number {
    return this.#native.addr.port;
  }

  endConnections(limits: DrainLimits): void {
    this.#drain.begin([...this.#conns].map((ref) => new RememberedConn(ref)), limits);
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#native.close();
    for (const ref of this.#conns) closeQuietly(ref.deref());
    this.#conns.clear();
  }

  ref(): void {
    this.#native.ref();
  }

  unref(): void {
    this.#native.unref();
  }

  async #acceptAll(): Promise<void> {
    while (!this.#isStopped) {
      try {
        void this.#shakeHands(await this.#native.accept());
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) return;
        // No descriptor is free; the connection waits in the queue.
        await delay(RETRY_AFTER_MS, undefined, { ref: false });
      }
    }
  }

  async #shakeHands(conn: DenoTlsConn): Promise<void> {
    const { handshakeTimeoutMs, onClientError, drains } = this.#settings;
    if (drains) this.#remember(conn);
    let hasTimedOut = false;
    const onTimeout = () => {
      hasTimedOut = true;
      closeQuietly(conn);
    };
    const timer = handshakeTimeoutMs < Infinity ? setTimeout(onTimeout, handshakeTimeoutMs) : undefined;
    try {
      await conn.handshake();
    } catch (cause) {
      closeQuietly(conn);
      if (this.#isProof(conn)) return;
      const error = hasTimedOut
        ? refusal("HANDSHAKE_TIMEOUT", `no handshake within ${handshakeTimeoutMs} ms`, cause)
        : refusal("HANDSHAKE_FAILED", cause instanceof Error ? cause.message : String(cause), cause);
      guarded(() => onClientError?.(error));
      return;
    } finally {
      clearTimeout(timer);
    }
    if (this.#isProof(conn)) closeQuietly(conn);
    else this.#onConn(conn);
  }

  /** A proof ends with its handshake, so the port is a client's from then on. */
  #isProof({ remoteAddr: { hostname, port } }: DenoTlsConn): boolean {
    return hostname === "127.0.0.1" && this.proofPorts.delete(port);
  }

  #remember(conn: DenoTlsConn): void {
    const ref = new WeakRef(conn);
    this.#conns.add(ref);
    this.#collected.register(conn, ref);
  }
}

/** A connection that the application may have forgotten. */
class RememberedConn implements Drainable {
  readonly #ref: WeakRef<DenoTlsConn>;

  constructor(ref: WeakRef<DenoTlsConn>) {
    this.#ref = ref;
  }

  endGently(): void {
    this.#ref.deref()?.closeWrite().catch(() => {});
  }

  destroy(): void {
    closeQuietly(this.#ref.deref());
  }
}

/** The native listeners of Deno. */
export class DenoTlsRuntime implements NativeRuntime<DenoTlsGeneration> {
  readonly #settings: AcceptSettings;
  readonly #onConn: (conn: DenoTlsConn) => void;

  /** `onConn` is called with each connection whose handshake is complete. */
  constructor(settings: AcceptSettings, onConn: (conn: DenoTlsConn) => void) {
    this.#settings = settings;
    this.#onConn = onConn;
  }

  start({ config }: TlsAcceptor, address: ListenAddress): DenoTlsGeneration {
    const options = nativeListenOptions(config, address, this.#settings.maxNames);
    return new DenoTlsGeneration(options, this.#settings, this.#onConn);
  }

  async prove(server: DenoTlsGeneration, acceptor: TlsAcceptor): Promise<void> {
    const onConnected = (localPort: number) => void server.proofPorts.add(localPort);
    await Promise.all([
      proveServer(server.port, acceptor, onConnected),
      askForNames(server.port, acceptor.config, onConnected),
    ]);
  }

  requireServable(config: TlsConfig): void {
    requireNative(config);
  }
}

function closeQuietly(conn: DenoTlsConn | undefined): void {
  try {
    conn?.close();
  } catch {
    // The connection was closed before.
  }
}

function refusal(code: "HANDSHAKE_FAILED" | "HANDSHAKE_TIMEOUT", reason: string, cause: unknown): TlsReloadError {
  return new TlsReloadError(code, `Cannot accept connection: ${reason}`, { cause });
}
