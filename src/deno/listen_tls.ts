import type { Socket } from "node:net";
import { requireState, sharedBy, type TlsState } from "../accept/tls_state.ts";
import { requireOptions, requireType } from "../arguments.ts";
import { proveTlsConfig } from "../config/proof.ts";
import { Front } from "../native/front.ts";
import type { Generation, Mechanism, ServingGenerations } from "../native/native_server.ts";
import { listenOn } from "../native/public_listener.ts";
import { openServing } from "../native/serving.ts";
import { requireAcceptOptions } from "./accept_options.ts";
import { Handshakes, type SecureConnection } from "./handshakes.ts";
import { missingNatively } from "./listen_tls_options.ts";
import { type DenoTlsGeneration, DenoTlsRuntime } from "./native_listener.ts";
import { missingToListen, requireDeno, requireNet } from "./permissions.ts";
import { closedError, TlsConn } from "./tls_conn.ts";
import type { DenoListenTlsOptions, DenoNetAddr, DenoTlsConn, DenoTlsListener } from "./types.ts";

const OPTION_NAMES = [
  "port",
  "hostname",
  "tcpBacklog",
  "reusePort",
  "handshakeTimeoutMs",
  "onClientError",
  "mechanism",
  "onTlsError",
];
const OPTION_HINTS = {
  cert: "TlsConfig",
  key: "TlsConfig",
  alpnProtocols: "TlsConfig",
  drainTimeoutMs: "drain of TlsState",
};

/**
 * Listens like `Deno.listenTls`, with the certificate of a state. A swap closes nothing but what `drain` of the state says: connections continue as they
 * began, and each connection that is accepted after it gets the new certificate.
 *
 * Connections arrive with their handshake complete, so that one bad or slow client neither ends nor holds up the loop.
 *
 * | mechanism | where | connections |
 * | --- | --- | --- |
 * | `handoff` | Linux, with `--allow-ffi` | Deno's own `TlsConn`, at its full speed |
 * | `front` | elsewhere; with client authentication, a `minVersion` of TLS 1.3, names that need it or `handshakeTimeoutMs` | the same surface over `TlsAcceptor` |
 *
 * A handshake takes at most 10 seconds. With the front the connection is closed then. With the handoff it is no longer
 * waited for, but Deno keeps the descriptor of a connection without handshake until the client closes it, as
 * `Deno.listenTls` itself does: give `handshakeTimeoutMs` where clients are not trusted.
 *
 * The handoff serves up to 100 names, each with one certified key; wildcards beside other names, several keys of one name and
 * the choice by the local address need the front. With the handoff, a name with a trailing dot counts as none, and an unknown name that is refused gets the
 * alert `close_notify`. A swap to a configuration that needs the front throws `UNSUPPORTED`.
 *
 * Needs `--allow-net` for the address, and for `127.0.0.1` with the handoff. `--allow-ffi` ends Deno's sandbox, even where
 * it is limited to libc.
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
  requireOptions("listenTls", options, OPTION_NAMES, OPTION_HINTS);
  requireType("listenTls", "port", options.port, "a number");
  requireAcceptOptions("listenTls", options);
  return await TlsListener.open(state, options);
}

/** One `DenoTlsListener` over the listeners of all generations. Accepted connections wait here for `accept()`. */
class TlsListener implements DenoTlsListener {
  #serving!: ServingGenerations<DenoTlsGeneration>;
  readonly #ready: DenoTlsConn[] = [];
  readonly #accepts: PromiseWithResolvers<DenoTlsConn>[] = [];
  #isClosed = false;

  static async open(state: TlsState, options: DenoListenTlsOptions): Promise<TlsListener> {
    const { port, hostname = "0.0.0.0", tcpBacklog, reusePort, handshakeTimeoutMs = 10_000 } = options;
    requireNet(hostname, port);
    const listener = new TlsListener();
    const address = { hostname, port, ...(tcpBacklog && { tcpBacklog }), ...(reusePort && { reusePort }) };
    const onSecure = ({ secure, peer }: SecureConnection) => listener.#add(new TlsConn(secure, peer));
    listener.#serving = await openServing<DenoTlsGeneration>({
      state,
      runtime: new DenoTlsRuntime(
        { ...options, handshakeTimeoutMs, drains: sharedBy(state).drain.when === "always" },
        (conn) => listener.#add(conn),
      ),
      address,
      options,
      needsFront: options.handshakeTimeoutMs === undefined
        ? missingNatively(state.current()) ?? missingToListen(address)
        : "option 'handshakeTimeoutMs'",
      openFront: (mechanismReason) =>
        Front.open(state, {
          acceptsByState: true,
          listen: listenOn({ ...address, backlog: tcpBacklog }),
          async start(acceptor) {
            await proveTlsConfig(acceptor.config);
            const accept = (client: Socket) => acceptor.accept(client, { handshakeTimeoutMs });
            const { onClientError } = options;
            return new Handshakes<DenoTlsGeneration>({ server: undefined as never, accept, onSecure, onClientError });
          },
        }, { ...options, mechanismReason }),
    });
    return listener;
  }

  get mechanism(): Mechanism {
    return this.#serving.mechanism;
  }

  get mechanismReason(): string {
    return this.#serving.mechanismReason;
  }

  get addr(): DenoNetAddr {
    return { transport: "tcp", ...this.#serving.address };
  }

  get generations(): readonly Generation[] {
    return this.#serving.generations;
  }

  accept(): Promise<DenoTlsConn> {
    if (this.#isClosed) return Promise.reject(closedError("Listener"));
    const conn = this.#ready.shift();
    if (conn) return Promise.resolve(conn);
    const accept = Promise.withResolvers<DenoTlsConn>();
    this.#accepts.push(accept);
    return accept.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#serving.close();
    for (const conn of this.#ready.splice(0)) conn.close();
    for (const accept of this.#accepts.splice(0)) accept.reject(closedError("Listener"));
  }

  ref(): void {
    this.#serving.ref();
  }

  unref(): void {
    this.#serving.unref();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<DenoTlsConn> {
    try {
      while (!this.#isClosed) {
        const conn = await this.accept().catch(() => undefined);
        if (conn) yield conn;
      }
    } finally {
      this.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #add(conn: DenoTlsConn): void {
    const accept = this.#accepts.shift();
    if (accept) accept.resolve(conn);
    else if (this.#isClosed) conn.close();
    else this.#ready.push(conn);
  }
}
