import type { TlsAcceptor } from "../accept/tls_acceptor.ts";
import type { Follower } from "../accept/tls_state.ts";
import type { NativeRuntime, NativeServer } from "./native_server.ts";

/** What a handoff takes beside where to listen. */
export interface HandoffOptions {
  /**
   * How long the connections of a replaced generation may continue. Connections that are still open then are closed.
   *
   * @default {Infinity}
   */
  readonly drainTimeoutMs?: number | undefined;
  /**
   * Called with the error of a configuration that cannot serve. It is retried, with growing pauses, until it serves or
   * is replaced.
   *
   * @default Emits a process warning.
   */
  readonly onTlsError?: ((error: unknown) => void) | undefined;
}

/** What a handoff does at a swap: a {@linkcode Follower} that looks at the state by itself. */
export interface HandoffFollower extends Pick<Follower, "requireServable"> {
  follow(): void;
}

/** What a handoff serves with. */
export interface HandoffSetting<Server extends NativeServer> {
  /** The state that it follows. After a hot reload, it is of another copy of its class. */
  readonly state: { acceptor(): TlsAcceptor };
  /** Makes it follow the state. */
  readonly follow: (follower: HandoffFollower) => Disposable;
  /** The runtime that starts the servers. */
  readonly runtime: NativeRuntime<Server>;
  /** What to do with old generations and with those that do not start. */
  readonly options: HandoffOptions;
}
