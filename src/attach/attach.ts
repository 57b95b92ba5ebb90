import type { AddressInfo } from "node:net";
import process from "node:process";
import { connect, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import { ClientCheck, turnAway } from "../accept/client_verification.ts";
import { TlsReloadError } from "../errors.ts";
import { servedFingerprint } from "../config/proof.ts";
import { hideKey, serverOptions, type TlsConfig } from "../config/tls_config.ts";
import type { TlsState } from "../accept/tls_state.ts";
import { requireVersion, unsupported } from "../unsupported.ts";
import { warn } from "../warnings.ts";

/** What {@linkcode attach} takes. */
export interface AttachOptions {
  /**
   * After each swap, connects to the server and compares the certificate that it serves. Needs a server that can be
   * reached at its own address, and that this process alone listens there; on Deno the permission to connect to it. On
   * a unix socket the application sees these connections too: nothing tells them from those of clients.
   *
   * @default {true}
   */
  readonly verify?: boolean | undefined;
  /** What else to build contexts with, such as `ciphers` or `dhparam`: a runtime forgets what it is not told again. */
  readonly context?: SecureContextOptions | undefined;
  /**
   * Called when the server cannot follow the state. It goes on serving what it served.
   *
   * @default Emits a process warning.
   */
  readonly onError?: ((error: TlsReloadError) => void) | undefined;
}

/** A server that follows a state. Dispose of it to let go: the server keeps what it serves. */
export interface Attachment extends Disposable {
  /** Why the server does not serve the current configuration, or is not seen to; `undefined` while it does. */
  readonly error: TlsReloadError | undefined;
  /**
   * Waits until the server has been seen to serve the certificate that is current. Looks again if it was not.
   *
   * @throws {TlsReloadError} `STALE_CERTIFICATE` if it serves another one or cannot be reached, `UNSUPPORTED` or
   * `CONFIG_UNUSABLE` if it could not be given the configuration.
   */
  verified(): Promise<void>;
}

/**
 * Makes a server follow a state: gives it the current configuration now and the next one at each swap, whole, and
 * checks by a handshake with the server itself that the new certificate is served.
 *
 * Connections in flight stay as they are. With client authentication, a client whose authority was removed does not
 * reach the application any more, also when it resumes an earlier session; what is refused here is emitted as
 * `"tlsClientError"`. The configuration decides about certificate, key, client authentication, ALPN and the lowest
 * version. ALPN protocols that the configuration leaves open stay those of the server, and so does what it serves for
 * names that were added by `addContext()`.
 *
 * On Bun a server of `node:tls` or `node:http2` asks for client certificates and offers protocols by ALPN as it was
 * created with: make it with `state.tls`. A later configuration that differs in these is not taken, and the error is
 * reported.
 *
 * Printing the server or one of its sockets does not show the private key, except by `console.dir()` that of an
 * `http2` server, which keeps a copy of the options that it was created with.
 *
 * @param state What to follow.
 * @param server The server, listening already or not yet.
 * @param options Verification, other options of the context, and where errors go.
 * @returns The attachment.
 * @throws {TlsReloadError} `UNSUPPORTED` if this runtime cannot change this server, such as `https.Server` on Bun;
 * `CONFIG_UNUSABLE` if the server refuses the current configuration.
 * @throws {TypeError} If the server is attached already.
 *
 * @example
 * ```ts
 * import https from "node:https";
 * import { loadTlsConfig, TlsState } from "@x/tls-reload";
 * import { attach } from "@x/tls-reload/node";
 *
 * const state = new TlsState(await loadTlsConfig("fullchain.pem", "privkey.pem"));
 * const server = https.createServer(state.tls, (_request, response) => response.end("hello\n")).listen(8443);
 * attach(state, server);
 * ```
 */
export function attach(state: TlsState, server: Server, options: AttachOptions = {}): Attachment {
  return new ServerAttachment(state, server, options);
}

/** What a connection was accepted under, noted before its handshake. */
interface Accepted {
  readonly check: ClientCheck | undefined;
  readonly peer: string;
}

/** What `tls.Server` reads at each connection, and no public method sets. */
interface HandshakeSettings {
  requestCert?: boolean | undefined;
  rejectUnauthorized?: boolean | undefined;
  ALPNProtocols?: Uint8Array | undefined;
}

/** Where a server can be reached. */
type Place = { readonly path: string } | { readonly host: string; readonly port: number };

type Emit = Server["emit"];

/** The oldest versions whose `setSecureContext()` does what it says. */
const OLDEST = { bun: "1.4.3", deno: "2.8.0" };
/** How long a server may take to answer its own verification: a machine that pauses is no reason to call it stale. */
const VERIFY_TIMEOUT_MS = 30_000;
const attached = new WeakSet<Server>();

class ServerAttachment implements Attachment {
  readonly #state: TlsState;
  readonly #server: Server & HandshakeSettings;
  readonly #options: AttachOptions;
  readonly #emit: Emit;
  readonly #gateway = ((event: string, ...args: unknown[]) => this.#gate(event, args)) as Emit;
  readonly #ownProtocols: Uint8Array | undefined;
  readonly #subscription: Disposable;
  readonly #accepted = new WeakMap<object, Accepted>();
  readonly #probes = new Set<string>();
  #check: ClientCheck | undefined;
  #error: TlsReloadError | undefined;
  #verification: Promise<void> | undefined;
  #isAttached = true;

  constructor(state: TlsState, server: Server, options: AttachOptions) {
    requireSupport(server);
    if (attached.has(server)) throw new TypeError("Cannot attach to server: it is attached already");
    this.#state = state;
    this.#server = server;
    this.#options = options;
    this.#ownProtocols = this.#server.ALPNProtocols;
    this.#apply(state.current());
    attached.add(server);

    // The one place that every connection passes on its way to the application, before any of its listeners.
    this.#emit = server.emit;
    server.emit = this.#gateway;
    this.#subscription = state.subscribe(({ config }) => this.#follow(config));
    server.on("listening", this.#onListening);
    this.#startVerification();
  }

  get error(): TlsReloadError | undefined {
    return this.#error;
  }

  async verified(): Promise<void> {
    if (this.#error) this.#startVerification();
    while (this.#verification) await this.#verification;
    if (this.#error) throw this.#error;
  }

  [Symbol.dispose](): void {
    if (!this.#isAttached) return;
    this.#isAttached = false;
    attached.delete(this.#server);
    this.#subscription[Symbol.dispose]();
    this.#server.removeListener("listening", this.#onListening);
    // Whoever has wrapped emit() since then keeps his wrapper: a gate that is no longer attached passes everything.
    if (this.#server.emit === this.#gateway) this.#server.emit = this.#emit;
  }

  #follow(config: TlsConfig): void {
    this.#error = undefined;
    try {
      this.#apply(config);
    } catch (error) {
      this.#fail(error as TlsReloadError);
    }
    this.#startVerification();
  }

  #apply(config: TlsConfig): void {
    const { clientAuth } = config;
    // First of all, so that no client enters on old trust, whatever follows.
    this.#check = clientAuth && new ClientCheck(clientAuth);
    const { requestCert, rejectUnauthorized, ALPNProtocols = this.#ownProtocols, ...context } = serverOptions(config);
    this.#applySettings({ requestCert, rejectUnauthorized, ALPNProtocols });
    const { context: own } = this.#options;
    const secureOptions = (own?.secureOptions ?? 0) | context.secureOptions;
    try {
      this.#server.setSecureContext({ ...own, ...context, secureOptions });
      hideKey(this.#server);
    } catch (cause) {
      throw new TlsReloadError("CONFIG_UNUSABLE", "Cannot give TLS config to server: the runtime refuses it", {
        cause,
      });
    }
  }

  #applySettings(settings: HandshakeSettings): void {
    if (!process.versions["bun"]) {
      Object.assign(this.#server, settings);
      return;
    }
    const { _requestCert, _rejectUnauthorized, ALPNProtocols } = this.#server as HandshakeSettings & {
      _requestCert?: boolean;
      _rejectUnauthorized?: boolean;
    };
    const isSame = Boolean(_requestCert) === settings.requestCert &&
      (!_requestCert || Boolean(_rejectUnauthorized) === settings.rejectUnauthorized) &&
      String(ALPNProtocols) === String(settings.ALPNProtocols);
    if (!isSame) {
      throw unsupported(
        "attach to server",
        "a server cannot change its client authentication or ALPN; create a new one with state.tls",
      );
    }
  }

  #gate(event: string, args: unknown[]): boolean {
    const pass = () => Reflect.apply(this.#emit, this.#server, [event, ...args]);
    if (!this.#isAttached) return pass();
    if (event === "connection") {
      const socket = args[0] as TLSSocket;
      this.#accepted.set(socket, { check: this.#check, peer: peerOf(socket.remoteAddress, socket.remotePort) });
      return pass();
    }
    if (event !== "secureConnection" && event !== "tlsClientError") return pass();

    const secure = args.at(-1) as TLSSocket & { _parent?: object };
    // Bun emits "connection" with the encrypted socket, Node and Deno with the one under it.
    const accepted = this.#accepted.get(secure) ?? this.#accepted.get(secure._parent ?? secure);
    if (accepted && this.#probes.delete(accepted.peer)) {
      secure.destroy();
      return true;
    }
    if (event === "tlsClientError") return pass();
    hideKey(secure);
    const { check } = accepted ?? { check: this.#check };
    const reason = check?.refusal(secure);
    if (!check) secure.authorized = false;
    if (reason === undefined) return pass();
    turnAway(secure);
    const error = new TlsReloadError("CLIENT_UNAUTHORIZED", `Cannot accept connection: ${reason}`);
    // A server of https destroys what it is told of: that may not come before the reset.
    setImmediate(() => Reflect.apply(this.#emit, this.#server, ["tlsClientError", error, secure]));
    return true;
  }

  readonly #onListening = () => this.#startVerification();

  #startVerification(): void {
    if (this.#canVerify()) this.#verification ??= this.#verify().finally(() => this.#verification = undefined);
  }

  #canVerify(): boolean {
    const { code = "STALE_CERTIFICATE" } = this.#error ?? {};
    return this.#options.verify !== false && this.#isAttached && this.#server.listening && code === "STALE_CERTIFICATE";
  }

  /** Compares what is served with what is current, again when a swap came in between. */
  async #verify(): Promise<void> {
    for (let generation = -1; generation !== this.#state.generation && this.#canVerify();) {
      generation = this.#state.generation;
      const expected = this.#state.current().leaf.fingerprint256;
      const served = await this.#servedLeaf().catch((cause: Error) => cause);
      if (generation !== this.#state.generation || !this.#canVerify()) continue;
      if (served === expected) {
        this.#error = undefined;
        continue;
      }
      const [reason, cause] = served instanceof Error
        ? ["it cannot be reached to see what it serves", served]
        : [`it serves another certificate: ${served}`, undefined];
      this.#fail(new TlsReloadError("STALE_CERTIFICATE", `Cannot verify server: ${reason}`, { cause }));
    }
  }

  async #servedLeaf(): Promise<string | undefined> {
    const [place, other] = placesOf(this.#server.address());
    return await this.#leafServedAt(place).catch((error) => {
      if (!other || error.syscall !== "connect") throw error;
      return this.#leafServedAt(other);
    });
  }

  async #leafServedAt(place: Place): Promise<string | undefined> {
    const client = connect({ ...place, rejectUnauthorized: false });
    client.once("connect", () => {
      // On a unix socket all clients look alike.
      if (client.localPort === undefined) return;
      const peer = peerOf(client.localAddress, client.localPort);
      this.#probes.add(peer);
      // The server sees the end of the connection later, or never; the port may be a stranger's one day.
      client.once("close", () => setTimeout(() => this.#probes.delete(peer), VERIFY_TIMEOUT_MS).unref());
    });
    return await servedFingerprint(client, VERIFY_TIMEOUT_MS).finally(() => client.destroy());
  }

  #fail(error: TlsReloadError): void {
    const isKnown = this.#error !== undefined;
    this.#error = error;
    if (isKnown) return;
    const { onError = warn } = this.#options;
    try {
      onError(error);
    } catch (thrown) {
      warn(thrown);
    }
  }
}

function requireSupport(server: Server): void {
  requireVersion("attach to server", OLDEST, "use state.acceptor()");
  if (typeof server.setSecureContext !== "function") {
    throw unsupported(
      "attach to server",
      "this kind of server has no setSecureContext(); use state.acceptor() or the runtime's own server",
    );
  }
}

/** How to connect to what listens at an address, in the order of what is likely. */
function placesOf(address: AddressInfo | string | null): [place: Place, other?: Place] {
  if (address === null) throw new Error("the server does not listen");
  if (typeof address === "string") return [{ path: address }];
  const { address: host, port } = address;
  if (host === "0.0.0.0") return [{ host: "127.0.0.1", port }];
  // A server of all addresses is one of IPv4 as well, and a machine may have no other.
  return host === "::" ? [{ host: "::1", port }, { host: "127.0.0.1", port }] : [{ host, port }];
}

/** One name for a peer, whether seen through an IPv4 or an IPv6 socket. */
function peerOf(address: string | undefined, port: number | undefined): string {
  return `${address?.replace(/^::ffff:/, "")} ${port}`;
}
