import type { DrainPolicy } from "../accept/drain_options.ts";
import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { Follower } from "../accept/follower.ts";
import type { NativeRuntime, NativeServer } from "./native_server.ts";

/** The options of a handoff. */
export interface HandoffOptions {
  /**
   * Called with the error of a configuration that cannot serve. It is retried, with growing pauses, until it serves or
   * is replaced.
   *
   * @default Emits a process warning.
   */
  readonly onTlsError?: ((error: unknown) => void) | undefined;
}

/** What a handoff does at a swap: a {@linkcode Follower} that looks at the state by itself. */
export interface HandoffFollower extends Pick<Follower, "requireServable" | "requireAlpnChallenges" | "hidesClients"> {
  follow(): void;
}

/** The state that a handoff serves, and how. */
export interface HandoffSetting<Server extends NativeServer> {
  /** The state that it follows. After a hot reload, it is of another copy of its class. */
  readonly state: { acceptor(): TlsAcceptor };
  /** Makes it follow the state. */
  readonly follow: (follower: HandoffFollower) => Disposable;
  /** The runtime that starts the servers. */
  readonly runtime: NativeRuntime<Server>;
  /** Which connections of older generations end. */
  readonly drain: DrainPolicy;
  /** Reports generations that do not start. */
  readonly options: HandoffOptions;
}
