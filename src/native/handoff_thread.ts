import type { HandoffTools } from "./public_socket.ts";

/** Whether the handoff can be used in this thread. */
export interface HandoffSupport {
  /** What was found, such as `Linux with FFI` or `no permission --allow-ffi`. */
  readonly reason: string;
  /** What the handoffs share; `undefined` if the handoff cannot be used. */
  readonly tools: HandoffTools | undefined;
}

/** A handoff that a hot reload can adopt. */
export interface LiveHandoff {
  readonly handoff: unknown;
  /** The address as the user gave it. At the same one, the same program starts the same kind of server. */
  readonly key: string;
  /** The evaluation of the program that opened or adopted it. */
  evaluation: object;
}

/**
 * What the handoffs of a thread share. It outlives an evaluation of this module: `bun --hot` evaluates the module
 * again, and two copies of it may be loaded.
 */
export interface Thread {
  /** Whether the handoff can be used, once that is being tried. */
  support: Promise<HandoffSupport> | undefined;
  /** The result, once it is known. */
  found?: HandoffSupport;
  /** The handoffs that listen. */
  readonly live: Set<LiveHandoff>;
}

/** Changes when the meaning of {@linkcode Thread} does. */
const THREAD = Symbol.for("@x/tls-reload handoff 1");

/** The handoffs of this thread. */
export function thisThread(): Thread {
  const holder = globalThis as { [THREAD]?: Thread };
  return holder[THREAD] ??= { support: undefined, live: new Set() };
}
