import { requireOptionTypes } from "../arguments.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { requireMs } from "../durations.ts";
import { requireHostname } from "../native/serving_options.ts";
import { missingNatively } from "./listen_tls_options.ts";
import { missingToListen } from "./permissions.ts";
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

/**
 * Why only a front can serve, if so.
 *
 * @param config The first configuration.
 * @param options The options of the server.
 * @param frontOptions The names of those that the native servers do not have.
 */
export function frontReason(
  config: TlsConfig,
  options: DenoAcceptOptions,
  frontOptions: readonly (keyof DenoAcceptOptions)[],
): string | undefined {
  const option = frontOptions.find((name) => options[name] !== undefined);
  if (option) return `option '${option}'`;
  return missingNatively(config) ?? missingToListen(options);
}
