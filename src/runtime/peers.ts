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

/** How long one side may take to end a connection that the other has ended. */
export const LINGER_MS = 5_000;
