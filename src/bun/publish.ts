import type { BunGeneration } from "./native_server.ts";
import type { BunMessage } from "./types.ts";

/** Publishes a message on the native servers of several generations. */
export function publishTo(
  servers: readonly BunGeneration[],
  topic: string,
  message: BunMessage,
  compress?: boolean,
): number {
  return mergePublished(servers.map(({ native }) => native.publish(topic, message, compress)));
}

/** The result of `publish()` on several servers: bytes, 0 if none was sent, -1 if one had to wait. */
export function mergePublished(results: readonly number[]): number {
  return results.includes(-1) ? -1 : Math.max(0, ...results);
}
