/** One connection of a client, whatever protocol it speaks. */
export interface WireConnection {
  /** SHA-256 of the certificate that was served. */
  readonly fingerprint256: string;
  /** Sends something, and reads the whole answer. */
  exchange(): Promise<void>;
  close(): void;
}

/** How a client connects. */
export interface WireOptions {
  readonly port: number;
  /** The authority of the server, in PEM. */
  readonly ca: string;
  /** Called before the handshake begins. */
  readonly onHandshake: () => void;
}

/** Connects to a server. */
export type WireClient = (options: WireOptions) => Promise<WireConnection>;
