/** Who is at the other end of a connection. */
export interface Peer {
  /** The address, as text. */
  readonly address: string;
  /** The port. */
  readonly port: number;
  /** Its family. */
  readonly family: "IPv4" | "IPv6";
}

/**
 * Whose connections a native server is given on the loopback interface: the port that the inner connection comes from,
 * to the client that it stands for. While we hold that connection the system gives its port to nobody else, so whoever
 * comes from a port that is not in this map is a stranger.
 */
export type Peers = Map<number, Peer>;

/**
 * The client that an inner connection stands for, or `undefined` for a stranger. Others on the machine may have the same
 * port, but on another address: all of 127.0.0.0/8 is theirs as well.
 */
export function peerAt(peers: Peers, from: { readonly address: string; readonly port: number }): Peer | undefined {
  return from.address === "127.0.0.1" ? peers.get(from.port) : undefined;
}

/** How long one side may take to end a connection that the other has ended. */
export const LINGER_MS = 5_000;
