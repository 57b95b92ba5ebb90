import { clearTimeout, setTimeout } from "node:timers";
import { NativeResponse } from "./native_response.ts";

/** After this time, a response has been sent, or its head has. */
const HEAD_SENT_MS = 1_000;
const CLOSE_IDLE_EVERY_MS = 250;

/**
 * The moments of one drain: when each connection of a native server is to end gently, spread evenly over `gentleMs`.
 *
 * There is no list of connections, because native servers show a connection by its requests only. So a moment is a
 * function of the client's address, and the same at each request.
 */
export class DrainMoments {
  readonly #gentleMs: number;
  readonly #begin = performance.now();
  readonly #salt = Math.random();

  /** The moments are spread over this time, from now on. */
  constructor(gentleMs: number) {
    this.#gentleMs = gentleMs;
  }

  /** Whether the moment of a client's connection has come. */
  hasCome(address: string | undefined, port: number | undefined): boolean {
    const elapsedMs = performance.now() - this.#begin;
    return elapsedMs >= this.#gentleMs * spreadOf(`${address} ${port}`, this.#salt);
  }
}

/** A number from 0 to 1 for a connection: the same at each call, spread evenly over connections. */
function spreadOf(connection: string, salt: number): number {
  // FNV-1a, and the last steps of MurmurHash3, so that ports that differ by one are far apart.
  let hash = Math.floor(salt * 2 ** 32);
  for (let index = 0; index < connection.length; index++) {
    hash = Math.imul(hash ^ connection.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * Makes a response the last one of its connection. A copy would buffer a stream, so the header is set on the
 * response itself, and removed when it has been sent, because one without a body can be sent more than once.
 */
export function closeAfter(response: unknown): unknown {
  // Before the runtime sees the response.
  if (response instanceof Promise) return response.then(closeAfter);
  if (!(response instanceof NativeResponse) || response.headers.has("connection")) return response;
  try {
    response.headers.set("connection", "close");
    setTimeout(() => response.headers.delete("connection"), HEAD_SENT_MS).unref();
  } catch {
    // The headers of a response of fetch() cannot be changed. The connection ends later.
  }
  return response;
}

/**
 * Closes idle connections from a moment on, again and again: requests that were being answered when a drain began have
 * the handlers from before, so that their connections become idle later. Ends when disposed of.
 */
export function closeIdleConnectionsAfter(afterMs: number, close: () => void): Disposable {
  const closeAndRepeat = () => {
    close();
    timer = setTimeout(closeAndRepeat, CLOSE_IDLE_EVERY_MS).unref();
  };
  let timer = setTimeout(closeAndRepeat, afterMs).unref();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
