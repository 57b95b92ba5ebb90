import process from "node:process";
import { requireState, type TlsState } from "../accept/tls_state.ts";
import { refuseOptions, requireOptionTypes } from "../arguments.ts";
import { requireHostname } from "../native/serving_options.ts";
import { unsupported } from "../unsupported.ts";
import { HttpServer } from "./http_server.ts";
import type { BunServeOptions, BunServer, BunWebSocket } from "./types.ts";

/** Options of `Bun.serve` that the state decides, or that this module does. */
const REFUSED_OPTIONS = {
  tls: "the options of reloadTls() or TlsConfig",
  unix: "port, because only TCP sockets can be handed over",
  id: "no id: each generation has its own",
  drainTimeoutMs: "drain of TlsState",
};

/**
 * Serves like `Bun.serve`, with the certificate of a state. A swap closes nothing but what `drain` of the state says:
 * connections continue as they began, and each connection that is accepted after it gets the new certificate.
 *
 * Takes the options of `Bun.serve` except `tls`, `unix`, `id` and `http3`; handlers are called with the server returned
 * here. Each configuration gets a `Bun.serve` of its own, which proves itself by a handshake before it serves.
 *
 * | mechanism | where | how |
 * | --- | --- | --- |
 * | `handoff` | Linux | the newest `Bun.serve` gets the listening socket and accepts by itself, at its full speed |
 * | `front` | elsewhere | one public listener relays the encrypted bytes to the newest `Bun.serve` on 127.0.0.1 |
 *
 * Behind a front, direct connections to the inner port get the same TLS checks, and are refused once their generation
 * is replaced.
 *
 * @param state The state to follow.
 * @param options Handlers, port, and what to do with old generations.
 * @returns The server, when it listens.
 * @throws {TlsReloadError} `UNSUPPORTED` on another runtime than Bun, for optional client authentication, for client
 * authentication of a state with `allowClient`, for `http3`, for a forced `mechanism` that cannot be used, and behind a
 * front for HTML imports as routes together with client authentication; `CONFIG_UNUSABLE` if the configuration cannot
 * serve.
 * @throws {TypeError} If an option is not one of this server.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { serve } from "@x/tls-reload/bun";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * process.on("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * await serve(state, {
 *   port: 443,
 *   routes: { "/health": new Response("ok") },
 *   fetch: (request, server) => new Response(`Hello ${server.requestIP(request)?.address}`),
 * });
 * ```
 */
export async function serve<WebSocket = BunWebSocket>(
  state: TlsState,
  options: BunServeOptions<WebSocket>,
): Promise<BunServer> {
  if (!process.versions["bun"]) {
    throw unsupported("serve", "it needs Bun; use attach() of ./node, serve() of ./deno, or state.acceptor()");
  }
  requireState("serve", state);
  refuseOptions("serve", options, REFUSED_OPTIONS);
  requireOptionTypes("serve", options, { onTlsError: "a function" });
  requireHostname("serve", options.hostname);
  if (options["http3"]) {
    throw unsupported("serve", "'http3' opens a listener whose certificate cannot change; leave it out");
  }
  const { BUN_PORT, PORT, NODE_PORT } = process.env;
  const { port = BUN_PORT ?? PORT ?? NODE_PORT ?? 3000, hostname, reusePort, ipv6Only } = options;
  return await HttpServer.open(state, options as BunServeOptions<never>, {
    hostname,
    port: Number(port),
    reusePort,
    ipv6Only,
  });
}
