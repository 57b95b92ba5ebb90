import { setTimeout } from "node:timers";

/** After this time, a response has been sent, or its head has. */
const HEAD_SENT_MS = 1_000;

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
