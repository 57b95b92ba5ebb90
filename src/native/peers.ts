import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** The address of the other end of a connection. */
export interface Peer {
  /** The address, as text. */
  readonly address: string;
  /** The port. */
  readonly port: number;
  /** The address family. */
  readonly family: "IPv4" | "IPv6";
}

/**
 * The clients that a front relays to one native server on the loopback interface, by the local port of the inner
 * connection. While the front holds an inner connection, the system gives its port to no other process. So a connection
 * from a port that is missing here does not come through the front.
 */
export type Peers = Map<number, Peer>;

/**
 * The client behind an inner connection, or `undefined` if the connection does not come through the front. Other
 * processes may connect from the same port of another loopback address, because all of 127.0.0.0/8 is this machine.
 */
export function peerAt(peers: Peers, from: { readonly address: string; readonly port: number }): Peer | undefined {
  return from.address === "127.0.0.1" ? peers.get(from.port) : undefined;
}

/** The peer of a socket, which knows it only while it is connected. */
export function peerOf({ remoteAddress, remotePort, remoteFamily }: Socket): Peer {
  return {
    address: remoteAddress ?? "",
    port: remotePort ?? 0,
    family: remoteFamily === "IPv6" ? "IPv6" : "IPv4",
  };
}

/** Maps the port of an inner connection to the peer of its client, until the native server has ended that connection. */
export function registerPeer(inner: Socket, client: Duplex, peer: Peer, peers: Peers): void {
  const port = inner.localPort!;
  peers.set(port, peer);
  // Always before the inner connection is closed: after that the system may give its port to another process.
  const forget = () => {
    if (peers.get(port) === peer) peers.delete(port);
  };
  inner.prependOnceListener("end", forget).prependOnceListener("close", forget);
  client.prependOnceListener("close", forget);
}
