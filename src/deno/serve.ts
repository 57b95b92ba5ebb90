import { requireState, type TlsState } from "../accept/tls_state.ts";
import { refuseOptions, requireType } from "../arguments.ts";
import { listenAddressOf, requireAcceptOptions } from "./accept_options.ts";
import { HttpServer } from "./http_server.ts";
import { requireDeno, requireNet } from "./permissions.ts";
import type { DenoHttpServer, DenoServeHandler, DenoServeOptions } from "./types.ts";

/** Options of `Deno.serve` that the state decides, and that of a listener whose server would not have TLS. */
const REFUSED_OPTIONS = {
  cert: "the options of reloadTls() or TlsConfig",
  key: "the options of reloadTls() or TlsConfig",
  path: "port, because Deno.serve has no TLS on unix sockets",
  handler: "the third argument",
  drainTimeoutMs: "drain of TlsState",
};

/**
 * Serves like `Deno.serve`, with the certificate of a state. A swap closes nothing but what `drain` of the state says:
 * connections continue as they began, and each connection that is accepted after it gets the new certificate.
 *
 * | mechanism | where | how |
 * | --- | --- | --- |
 * | `handoff` | Linux, with `--allow-ffi` | the newest `Deno.serve` gets the listening socket; it runs at its full speed |
 * | `front` | elsewhere | one listener makes the handshakes and relays the bytes to a `Deno.serve` without TLS |
 *
 * The front is also used if the first configuration needs it, or an option does:
 *
 * | | handoff | front |
 * | --- | --- | --- |
 * | `handshakeTimeoutMs`, `onClientError` | the front is used | works |
 * | client authentication, versions, cipher suites, groups | `swap()` throws `UNSUPPORTED` | works |
 * | up to 100 names, each with one certified key | works; a name with a trailing dot counts as none | works |
 * | wildcards, several keys of one name, choice by the local address | `swap()` throws `UNSUPPORTED` | works |
 * | unknown names that are refused | closed, with the alert `close_notify` | the alert `unrecognized_name` |
 * | `unref()` | `UNSUPPORTED` with several names | works |
 * | `automaticCompression` | works | `UNSUPPORTED` |
 * | options of later versions | works, with several names `UNSUPPORTED` | `UNSUPPORTED` |
 * | HTTP/2 for a client that agreed on `http/1.1` | served, as by `Deno.serve` | closed |
 * | `request.url` | `https:` | `https:`; a `new Request(request)` has `http:` |
 *
 * Without `alpnProtocols` in the configuration, HTTP/2 and HTTP/1.1 are offered. Needs `--allow-net` for the address
 * and for `127.0.0.1`. `--allow-ffi` ends Deno's sandbox, even where it is limited to libc.
 *
 * @param state The state to follow.
 * @param options Where to listen, and what to do with old generations.
 * @param handler Answers the requests.
 * @returns The server, when it listens.
 * @throws {TlsReloadError} `UNSUPPORTED` on another runtime than Deno, if a permission is missing, or for options that
 * the mechanism does not have; `CONFIG_UNUSABLE` if the configuration cannot serve.
 * @throws {TypeError} If an option is not one of this server.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { serve } from "@x/tls-reload/deno";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * Deno.addSignalListener("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * await serve(state, { port: 443 }, (_request, info) => new Response(`Hello ${info.remoteAddr.hostname}`));
 * ```
 */
export async function serve(
  state: TlsState,
  options: DenoServeOptions,
  handler: DenoServeHandler,
): Promise<DenoHttpServer> {
  requireDeno("serve");
  requireState("serve", state);
  refuseOptions("serve", options, REFUSED_OPTIONS);
  requireAcceptOptions("serve", options);
  requireType("serve", "handler", handler, "a function");
  const address = listenAddressOf(options, options.port ?? 8000);
  requireNet("127.0.0.1");
  return await HttpServer.open(state, options, address, handler);
}
