import { clearTimeout, setTimeout } from "node:timers";
import { Drain, type Drainable } from "../accept/drain.ts";
import type { DrainLimits } from "../accept/drain_options.ts";
import { spreadOf } from "../native/spread.ts";
import type { BunNativeServer, BunWebSocket } from "./types.ts";

/** RFC 6455 section 7.4.1: the endpoint is going away. */
const GOING_AWAY = 1001;
const CLOSE_IDLE_EVERY_MS = 250;

/** What is to end. */
export interface EndingServer {
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
  readonly #server: EndingServer;
  readonly #gentleMs: number;
  readonly #begin = performance.now();
  readonly #salt = Math.random();
  readonly #webSockets = new Drain<OpenWebSocket>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(server: EndingServer, limits: DrainLimits) {
    this.#server = server;
    this.#gentleMs = limits.gentleMs;
    this.#webSockets.begin([...server.webSockets].map((socket) => new OpenWebSocket(socket)), limits);
    this.#closeIdleAfter(limits.gentleMs);
    void server.ended.then(() => clearTimeout(this.#timer));
  }

  /** Again and again: requests that were being answered when the drain began have the handlers from before. */
  #closeIdleAfter(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#server.native.closeIdleConnections();
      this.#closeIdleAfter(CLOSE_IDLE_EVERY_MS);
    }, ms).unref();
  }

  /** Whether the moment of the connection of a request has come. */
  ends(request: Request): boolean {
    const from = this.#server.native.requestIP(request);
    const share = (performance.now() - this.#begin) / this.#gentleMs;
    return !from || share >= spreadOf(`${from.address} ${from.port}`, this.#salt);
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
