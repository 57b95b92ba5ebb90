import type { TlsConfig } from "../config/tls_config.ts";
import type { Generation } from "./live_connections.ts";

/** A swap, as the listeners of {@linkcode TlsState.subscribe} get it. */
export interface TlsSwap {
  /** The configuration that is current now. */
  readonly config: TlsConfig;
  /** The configuration that was current before. */
  readonly previous: TlsConfig;
  /** The number of the new generation. */
  readonly generation: number;
}

/** A server that serves with the configurations of a state. */
export interface Follower {
  /** Whether the server asks clients for certificates and does not show them. */
  readonly hidesClients?: boolean;
  /** The generations that hold connections of the server. */
  readonly generations?: readonly Generation[];
  /**
   * Called before a swap changes anything. Throws `UNSUPPORTED` if the server cannot serve the next configuration; then
   * `swap()` throws the same error, and nothing has changed.
   */
  requireServable(next: TlsConfig): void;
  /** Throws `UNSUPPORTED` if the server cannot answer ACME challenges. */
  requireAlpnChallenges?(): void;
  /** Called after the state has changed, before `swap()` returns and before the listeners of `subscribe()`. */
  follow(swap: TlsSwap): void;
}
