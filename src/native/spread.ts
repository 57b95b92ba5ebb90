import { setTimeout } from "node:timers";

/** After this time, a response has been sent, or its head has. */
const HEAD_SENT_MS = 1_000;

/**
 * Where in the time of a drain the moment of a connection is, without a list of connections: the same at each of its
 * requests, and spread evenly over many connections.
 *
 * @param connection What tells the connection from others, such as the address and port of its client.
 * @param salt A number from 0 to 1, drawn for each drain.
 * @returns A number from 0 to 1.
 */
export function spreadOf(connection: string, salt: number): number {
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
 *
 * @param response What a handler has returned.
 * @returns The same, or a promise of the same.
 */
export function closeAfter(response: unknown): unknown {
  // Before the runtime sees the response.
  if (response instanceof Promise) return response.then(closeAfter);
  if (!(response instanceof Response) || response.headers.has("connection")) return response;
  try {
    response.headers.set("connection", "close");
    setTimeout(() => response.headers.delete("connection"), HEAD_SENT_MS).unref();
  } catch {
    // The headers of a response of fetch() cannot be changed. The connection ends later.
  }
  return response;
}
