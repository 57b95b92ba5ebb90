import { requireOptionTypes } from "../arguments.ts";
import { requireMs } from "../durations.ts";
import { requireHostname } from "../native/serving_options.ts";
import type { DenoAcceptOptions } from "./types.ts";

/**
 * Refuses options of the wrong type that `listenTls()` and `serve()` share.
 *
 * @param where The function.
 * @param options Its options.
 * @throws {TypeError} If one has the wrong type.
 */
export function requireAcceptOptions(where: string, options: DenoAcceptOptions): void {
  requireOptionTypes(where, options, {
    port: "a number",
    tcpBacklog: "a number",
    reusePort: "a boolean",
    onClientError: "a function",
    onTlsError: "a function",
    onListen: "a function",
    onError: "a function",
    signal: "an AbortSignal",
  });
  requireHostname(where, options.hostname);
  requireMs("handshakeTimeoutMs", options.handshakeTimeoutMs ?? Infinity);
}
