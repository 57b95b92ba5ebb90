import { requireOptionTypes } from "../arguments.ts";
import type { TlsConfig } from "../config/tls_config.ts";
import { requireMs } from "../durations.ts";
import type { ListenAddress } from "../native/native_server.ts";
import { requireHostname } from "../native/serving_options.ts";
import { missingToListen, requireNet } from "./permissions.ts";
import { missingNatively } from "./tls_options.ts";
import type { DenoAcceptOptions } from "./types.ts";

/** The options that `listenTls()` and `serve()` share. */
export const ACCEPT_OPTION_NAMES: readonly string[] = [
  "port",
  "hostname",
  "tcpBacklog",
  "reusePort",
  "handshakeTimeoutMs",
  "onClientError",
  "mechanism",
  "onTlsError",
];

/** Refuses options of the wrong type that `listenTls()` and `serve()` share, with a `TypeError`. */
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
 * Where `listenTls()` and `serve()` listen.
 *
 * @throws {TlsReloadError} `UNSUPPORTED` without the permission to listen there.
 */
export function listenAddressOf(options: DenoAcceptOptions, port: number): ListenAddress {
  const { hostname = "0.0.0.0", tcpBacklog: backlog, reusePort } = options;
  requireNet(hostname, port);
  return { hostname, port, backlog, reusePort };
}

/**
 * Why only a front can serve the first configuration, if so.
 *
 * @param frontOptions The names of the options that the native servers do not have.
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
