import type { NativeServer } from "./native_server.ts";

/** A generation that no longer gets connections, as far as its end depends on it. */
export interface DrainingGeneration {
  /** Its server. */
  readonly server: NativeServer;
  /** How many connections it has, as far as they are counted. */
  readonly connections: number;
  /** When a newer generation replaced it; `undefined` if none has, because the server was closed. */
  readonly replacedAt: number | undefined;
}

/**
 * When and how a replaced generation ends: when its last connection has ended, or by force when its time is over.
 *
 * Native servers have no gentler end that can be used before that: `stop()` of Bun closes idle keep-alive connections,
 * `shutdown()` of Deno those, half-sent requests and WebSockets too.
 */
export class Drain {
  readonly #timeoutMs: number;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** How long until a generation ends by force. */
  msLeft({ replacedAt }: DrainingGeneration, now: number): number {
    return replacedAt === undefined ? Infinity : Math.max(0, replacedAt + this.#timeoutMs - now);
  }

  /** Ends a generation that is empty, or whose time is over. */
  end({ server }: DrainingGeneration): void {
    server.stop();
  }
}
