import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Backend } from "../native/front_generations.ts";
import { type Peer, peerOf } from "../native/peers.ts";
import { guarded } from "../warnings.ts";
import type { DenoAcceptOptions } from "./types.ts";

/** The options of a {@linkcode handshakingBackend}. */
export interface HandshakingOptions extends Pick<DenoAcceptOptions, "onClientError"> {
  /** Makes the handshake with a client. */
  readonly accept: (client: Socket) => Promise<TLSSocket>;
  /** Called with each connection whose handshake is complete. */
  readonly onSecure: (secure: TLSSocket, peer: Peer) => void;
}

/** The backend of one generation that makes the handshakes itself. */
export function handshakingBackend<Server>(
  server: Server,
  { accept, onSecure, onClientError }: HandshakingOptions,
): Backend<Server> {
  return {
    server,
    knowsClients: true,
    serve(client) {
      const peer = peerOf(client);
      // A client that ends its side before the handshake does is gone; after it, each direction ends by itself.
      client.allowHalfOpen = false;
      accept(client).then((secure) => {
        client.allowHalfOpen = true;
        secure.allowHalfOpen = true;
        onSecure(secure, peer);
      }).catch((error) => guarded(() => onClientError?.(error)));
    },
  };
}
