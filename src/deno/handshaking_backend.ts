import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type Peer, peerOf } from "../native/peers.ts";
import type { Backend } from "../native/front_generations.ts";
import { guarded } from "../warnings.ts";
import type { DenoAcceptOptions } from "./types.ts";

/** A connection whose handshake is complete. */
export interface SecureConnection {
  readonly secure: TLSSocket;
  readonly peer: Peer;
}

/** The parts of a {@linkcode HandshakingBackend} that differ between servers. */
export interface HandshakingSetup<Server> {
  readonly server: Server;
  /** Makes the handshake with a client. */
  readonly accept: (client: Socket) => Promise<TLSSocket>;
  readonly onSecure: (connection: SecureConnection) => void;
  readonly onClientError: DenoAcceptOptions["onClientError"];
}

/** The backend of one generation that makes the handshakes itself. */
export class HandshakingBackend<Server> implements Backend<Server> {
  readonly server: Server;
  readonly knowsClients = true;
  readonly #setup: HandshakingSetup<Server>;

  constructor(setup: HandshakingSetup<Server>) {
    this.server = setup.server;
    this.#setup = setup;
  }

  serve(client: Socket): void {
    const { accept, onSecure, onClientError } = this.#setup;
    const peer = peerOf(client);
    // A client that ends its side before the handshake does is gone; after it, each direction ends by itself.
    client.allowHalfOpen = false;
    accept(client).then((secure) => {
      client.allowHalfOpen = true;
      secure.allowHalfOpen = true;
      onSecure({ secure, peer });
    }).catch((error) => guarded(() => onClientError?.(error)));
  }
}
