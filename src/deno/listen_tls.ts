import { requireState, type TlsState } from "../accept/tls_state.ts";
import { requireOptions, requireType } from "../arguments.ts";
import { ACCEPT_OPTION_NAMES, listenAddressOf, requireAcceptOptions } from "./accept_options.ts";
import { requireDeno } from "./permissions.ts";
import { TlsListener } from "./tls_listener.ts";
import type { DenoListenTlsOptions, DenoTlsListener } from "./types.ts";

const OPTION_HINTS = {
  cert: "the options of reloadTls() or TlsConfig",
  key: "the options of reloadTls() or TlsConfig",
  alpnProtocols: "the options of reloadTls() or TlsConfig",
  drainTimeoutMs: "drain of TlsState",
};

/**
 * Listens like `Deno.listenTls`, with the certificate of a state. A swap closes nothing but what `drain` of the state
 * says: connections continue as they began, and each connection that is accepted after it gets the new certificate.
 *
 * Connections arrive with their handshake complete, so that one bad or slow client neither ends nor holds up the loop.
 *
 * | mechanism | where | connections |
 * | --- | --- | --- |
 * | `handoff` | Linux, with `--allow-ffi` | Deno's own `TlsConn`, at its full speed |
 * | `front` | elsewhere, and for what the handoff does not have | the same surface over `TlsAcceptor` |
 *
 * A handshake takes at most 10 seconds. With the front the connection is closed then. With the handoff it is no longer
 * waited for, but Deno keeps the descriptor of a connection without handshake until the client closes it, as
 * `Deno.listenTls` itself does: give `handshakeTimeoutMs` where clients are not trusted.
 *
 * These need the front: `handshakeTimeoutMs`, client authentication, versions, cipher suites and groups, more than 100
 * names, wildcards beside other names, several certified keys of one name, and the choice by the local address. After a
 * start with the handoff, a swap to a configuration that needs the front throws `UNSUPPORTED`. With the handoff, a name
 * with a trailing dot counts as none, and an unknown name that is refused gets the alert `close_notify`.
 *
 * Needs `--allow-net` for the address, and for `127.0.0.1` with the handoff. `--allow-ffi` ends Deno's sandbox, even
 * where it is limited to libc.
 *
 * @param state The state to follow.
 * @param options Where to listen, and what to do with old generations.
 * @returns The listener, when it listens.
 * @throws {TlsReloadError} `UNSUPPORTED` on another runtime than Deno, or if the permission is missing;
 * `CONFIG_UNUSABLE` if the configuration cannot serve.
 * @throws {TypeError} If an argument has the wrong type, or an option is unknown.
 * @throws {Error} The error of the system, such as `EADDRINUSE`, if it cannot listen there.
 *
 * @example
 * ```ts ignore
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { listenTls } from "@x/tls-reload/deno";
 *
 * const load = () => loadTlsConfig("fullchain.pem", "privkey.pem");
 * const state = new TlsState(await load());
 * Deno.addSignalListener("SIGHUP", () => load().then((config) => state.swap(config), console.error));
 *
 * for await (const conn of await listenTls(state, { port: 8443 })) {
 *   conn.readable.pipeTo(conn.writable).catch(() => {});
 * }
 * ```
 */
export async function listenTls(state: TlsState, options: DenoListenTlsOptions): Promise<DenoTlsListener> {
  requireDeno("listen");
  requireState("listen", state);
  requireOptions("listenTls", options, ACCEPT_OPTION_NAMES, OPTION_HINTS);
  requireType("listenTls", "port", options.port, "a number");
  requireAcceptOptions("listenTls", options);
  return await TlsListener.open(state, options, listenAddressOf(options, options.port));
}
