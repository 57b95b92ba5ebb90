import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { requireMs } from "../durations.ts";
import type { AcceptOptions, TlsAcceptor } from "../accept/tls_acceptor.ts";
import { unsupported } from "../unsupported.ts";
import type { Backend, FrontOptions } from "../native/front.ts";
import { peerOf } from "../native/net_carrier.ts";
import type { Peer } from "../native/peers.ts";

/** `Deno.NetAddr`. */
export interface DenoNetAddr {
  /** The transport. */
  readonly transport: "tcp";
  /** The address, as text. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/** Where and how {@linkcode listenTls} and {@linkcode serve} accept connections. */
export interface DenoAcceptOptions extends FrontOptions {
  /**
   * The address to listen on.
   *
   * @default {"0.0.0.0"}
   */
  readonly hostname?: string | undefined;
  /**
   * How many connections the system may queue.
   *
   * @default {511}
   */
  readonly tcpBacklog?: number | undefined;
  /**
   * How long a peer may take for its handshake.
   *
   * @default {10_000}
   */
  readonly handshakeTimeoutMs?: number | undefined;
  /**
   * Called with the error of each connection whose handshake fails or whose client is refused. By default nobody is
   * told, as peers can cause as many as they like.
   */
  readonly onClientError?: ((error: unknown) => void) | undefined;
}

declare const Deno: {
  readonly permissions: {
    requestSync(permission: { readonly name: "net"; readonly host: string }): { readonly state: string };
  };
};

/** Makes the handshakes of one generation. */
export class Handshakes implements Backend<Socket> {
  readonly #acceptor: TlsAcceptor;
  readonly #acceptOptions: AcceptOptions;
  readonly #onClientError: DenoAcceptOptions["onClientError"];
  readonly #onSecure: (secure: TLSSocket, peer: Peer) => void;

  constructor(
    acceptor: TlsAcceptor,
    options: DenoAcceptOptions,
    onSecure: (secure: TLSSocket, peer: Peer) => void,
  ) {
    const { handshakeTimeoutMs = 10_000, onClientError } = options;
    requireMs("handshakeTimeoutMs", handshakeTimeoutMs);
    this.#acceptor = acceptor;
    this.#acceptOptions = { handshakeTimeoutMs };
    this.#onClientError = onClientError;
    this.#onSecure = onSecure;
  }

  serve(client: Socket): void {
    const peer = peerOf(client);
    // A peer that ends the connection before the handshake does is gone; after it, each direction ends by itself.
    client.allowHalfOpen = false;
    this.#acceptor.accept(client, this.#acceptOptions).then((secure) => {
      client.allowHalfOpen = secure.allowHalfOpen = true;
      this.#onSecure(secure, peer);
    }).catch((error) => this.#onClientError?.(error));
  }
}

/** An address in the form of Deno. */
export function netAddr({ address, port }: Peer): DenoNetAddr {
  return { transport: "tcp", hostname: address, port };
}

/** Asked for beforehand: a missing one would end the process, as Deno throws it where nobody can catch it. */
export function requireNet(hostname: string, port?: number): void {
  const name = hostname.includes(":") ? `[${hostname}]` : hostname;
  const host = port === undefined ? name : `${name}:${port}`;
  if (Deno.permissions.requestSync({ name: "net", host }).state !== "granted") {
    throw unsupported("serve", `it needs the permission --allow-net=${host}`);
  }
}

/** Names what serves elsewhere. */
export function requireDeno(action: "listen" | "serve"): void {
  if (typeof Deno !== "undefined") return;
  throw unsupported(action, "it needs Deno; use attach() of ./node, serve() of ./bun, or state.acceptor()");
}
