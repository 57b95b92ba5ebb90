import { type AddressInfo, createServer, type Socket } from "node:net";
import type { SocketAddress } from "../kernel/kernel.ts";
import { keepAccepting } from "../node_internals/listeners.ts";
import type { ListenAddress } from "./native_server.ts";
import { ignoreError } from "./relay.ts";

/** What a public listener gets from its front. */
interface ListenerContext {
  /** A connection was accepted. It is paused: nothing is read before a generation serves it. */
  onAccepted(client: Socket): void;
  /** An accepted connection was closed. */
  onClosed(client: Socket): void;
  /** An error that belongs to no connection. */
  onFailed(error: unknown): void;
}

/** The public listener of a front. */
export interface PublicListener {
  /** The address in use. */
  readonly address: SocketAddress;
  /** Stops accepting. */
  close(): void;
  /** Keeps the process running, as it does from the start. */
  ref(): void;
  /** No longer keeps the process running. */
  unref(): void;
}

/** Opens a public listener; rejects with the error of the system. */
export type Listen = (context: ListenerContext) => Promise<PublicListener>;

const DEFAULT_BACKLOG = 511;

/** How to open a listener of `node:net`. */
export function listenOn({ hostname, port, backlog = DEFAULT_BACKLOG, reusePort, ipv6Only }: ListenAddress): Listen {
  return ({ onAccepted, onClosed, onFailed }) =>
    new Promise((resolve, reject) => {
      // Half-open, because each direction of a relayed connection ends by itself.
      const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
        client.on("error", ignoreError).once("close", () => onClosed(client));
        onAccepted(client);
      });
      server.once("error", reject);
      const options = { port, backlog, ...(hostname && { host: hostname }) };
      server.listen({ ...options, ...(reusePort && { reusePort }), ...(ipv6Only && { ipv6Only }) }, () => {
        server.off("error", reject).on("error", onFailed);
        keepAccepting(server, backlog);
        const { address, port } = server.address() as AddressInfo;
        resolve({
          address: { hostname: address, port },
          close: () => void server.close(),
          ref: () => void server.ref(),
          unref: () => void server.unref(),
        });
      });
    });
}
