import { Drain, type Drainable } from "../accept/drain.ts";
import type { DrainLimits } from "../accept/drain_options.ts";
import { closeIdleConnectionsAfter, DrainMoments } from "../native/gentle_end.ts";
import type { BunNativeServer, BunWebSocket } from "./types.ts";

/** RFC 6455 section 7.4.1: the endpoint is going away. */
const GOING_AWAY = 1001;

/** A `Bun.serve` whose connections are to end. */
interface EndingServer {
  readonly native: BunNativeServer;
  readonly ended: Promise<void>;
  /** The WebSockets that are open. */
  readonly webSockets: Iterable<BunWebSocket>;
}

/**
 * The gentle end of one `Bun.serve`. Each connection has a moment within the limits, after which its next response says
 * `Connection: close`; WebSockets close at theirs. Bun can close idle connections only together, which is done last.
 */
export class BunDrain {
  readonly #native: BunNativeServer;
  readonly #moments: DrainMoments;
  readonly #webSockets = new Drain<OpenWebSocket>();

  constructor({ native, ended, webSockets }: EndingServer, limits: DrainLimits) {
    this.#native = native;
    this.#moments = new DrainMoments(limits.gentleMs);
    this.#webSockets.begin([...webSockets].map((socket) => new OpenWebSocket(socket)), limits);
    const closing = closeIdleConnectionsAfter(limits.gentleMs, () => native.closeIdleConnections());
    void ended.then(() => closing[Symbol.dispose]());
  }

  /** Whether the moment of the connection of a request has come. */
  ends(request: Request): boolean {
    const from = this.#native.requestIP(request);
    return !from || this.#moments.hasCome(from.address, from.port);
  }
}

class OpenWebSocket implements Drainable {
  readonly #socket: BunWebSocket;

  constructor(socket: BunWebSocket) {
    this.#socket = socket;
  }

  endGently(): void {
    this.#socket.close(GOING_AWAY, "");
  }

  /** The server stops then, and with it every connection. */
  destroy(): void {}
}
