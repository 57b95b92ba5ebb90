import { clearTimeout, setTimeout } from "node:timers";

const AGAIN_AFTER_MS = 250;

/**
 * Closes idle connections from a moment on, again and again: requests that were being answered when a drain began have
 * the handlers from before, so that their connections become idle later.
 *
 * @param afterMs When idle connections are closed for the first time.
 * @param close Closes those that are idle.
 * @returns Ends it when disposed of.
 */
export function closeIdleConnectionsAfter(afterMs: number, close: () => void): Disposable {
  const closeAndRepeat = () => {
    close();
    timer = setTimeout(closeAndRepeat, AGAIN_AFTER_MS).unref();
  };
  let timer = setTimeout(closeAndRepeat, afterMs).unref();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
