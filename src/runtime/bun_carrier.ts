import { clearTimeout, setTimeout } from "node:timers";
import type { Client, FrontAddress, Listen } from "./front.ts";
import { LINGER_MS, type Peer, type Peers } from "./peers.ts";

/** A socket of `Bun.listen` and `Bun.connect`. */
interface NativeSocket {
  data: Side;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly remoteFamily: Peer["family"];
  /** Returns how many bytes were taken, or -1. */
  write(bytes: Uint8Array): number;
  /** Ends what is sent. */
  shutdown(): void;
  /** Ends both directions. */
  end(): void;
  /** Resets. */
  terminate(): void;
  pause(): void;
  resume(): void;
  setNoDelay(noDelay: boolean): void;
}

interface NativeListener {
  readonly hostname: string;
  readonly port: number;
  stop(): void;
  ref(): void;
  unref(): void;
}

declare const Bun: {
  listen(options: object): NativeListener;
  connect(options: object): Promise<unknown>;
};

/** How long `Bun.serve` may take to end a connection that the client has ended. */
const LEFT_MS = 500;

/** Called without `this`, with the socket. */
const HANDLERS = {
  data: ({ data: side }: NativeSocket, bytes: Uint8Array) => void (side.other.send(bytes) || side.pause()),
  drain: ({ data: side }: NativeSocket) => side.flush(),
  end: ({ data: side }: NativeSocket) => side.ended(),
  close: ({ data: side }: NativeSocket) => side.closed(),
  // What follows from it arrives as `close`.
  error() {},
};

/**
 * Listens with `Bun.listen`, which carries more than `node:net` of Bun does.
 *
 * @param address Where.
 * @returns What a front takes.
 */
export function listenBun({ hostname = "::", port }: FrontAddress): Listen<BunClient> {
  return ({ accepted, closed }) => {
    const open = (socket: NativeSocket) => accepted(new BunClient(socket, closed));
    const listener = Bun.listen({ hostname, port, allowHalfOpen: true, socket: { ...HANDLERS, open } });
    return {
      address: { hostname: listener.hostname, port: listener.port },
      close: () => listener.stop(),
      ref: () => listener.ref(),
      unref: () => listener.unref(),
    };
  };
}

/** One of the two sockets of a connection that is carried. */
class Side {
  other!: Side;
  onSentEnd: (() => void) | undefined;
  onEnded: (() => void) | undefined;
  onClosed: (() => void) | undefined;
  /** Nothing more comes from it. */
  hasEnded = false;
  /** Nothing was ever sent to it. */
  isUntold = true;
  #socket: NativeSocket | undefined;
  /** What it does not take yet: no more than the system gave at once, as the other side is paused meanwhile. */
  readonly #unsent: Uint8Array[] = [];
  #isPaused = false;
  #isEnding = false;
  #hasSentEnd = false;
  #isClosed = false;

  open(socket: NativeSocket): void {
    socket.data = this;
    this.#socket = socket;
    if (this.#isClosed) return socket.terminate();
    socket.setNoDelay(true);
    this.flush();
  }

  /** Returns whether all was taken. */
  send(bytes: Uint8Array): boolean {
    if (this.#isClosed) return true;
    this.isUntold = false;
    const sent = this.#socket && this.#unsent.length === 0 ? this.#socket.write(bytes) : 0;
    if (sent === bytes.length) return true;
    this.#unsent.push(bytes.subarray(Math.max(sent, 0)));
    return false;
  }

  flush(): void {
    for (let bytes; (bytes = this.#unsent[0]);) {
      const sent = this.#socket!.write(bytes);
      if (sent < bytes.length) {
        this.#unsent[0] = bytes.subarray(Math.max(sent, 0));
        return;
      }
      this.#unsent.shift();
    }
    this.other.resume();
    if (!this.#isEnding || this.#hasSentEnd) return;
    this.#hasSentEnd = true;
    this.#socket!.shutdown();
    this.onSentEnd?.();
    this.#closeIfDone();
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket!.pause();
  }

  resume(): void {
    if (!this.#isPaused || this.#isClosed) return;
    this.#isPaused = false;
    this.#socket!.resume();
  }

  end(): void {
    this.#isEnding = true;
    if (this.#socket) this.flush();
  }

  ended(): void {
    this.hasEnded = true;
    this.onEnded?.();
    this.#closeIfDone();
    this.other.end();
  }

  closed(): void {
    this.#isClosed = true;
    this.#unsent.length = 0;
    this.onClosed?.();
    this.other.resume();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket?.end();
  }

  reset(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket?.terminate();
  }

  #closeIfDone(): void {
    if (this.hasEnded && this.#hasSentEnd) this.close();
  }
}

/** An accepted connection, and what carries it to a native server on the loopback interface. */
export class BunClient implements Client {
  readonly #peer: Peer;
  readonly #near = new Side();
  readonly #far = new Side();

  constructor(socket: NativeSocket, onClosed: (client: BunClient) => void) {
    const { remoteAddress: address, remotePort: port, remoteFamily: family } = socket;
    this.#peer = { address, port, family };
    this.#near.other = this.#far;
    this.#far.other = this.#near;
    this.#near.onClosed = () => onClosed(this);
    this.#near.open(socket);
  }

  /**
   * Carries to a native server and back: with backpressure, each direction ending by itself, and a break on one side
   * breaking the other.
   *
   * @param port Where the native server listens.
   * @param peers Knows the client until the native server has ended the connection.
   */
  carry(port: number, peers: Peers): void {
    const near = this.#near;
    const far = this.#far;
    let from: number | undefined;
    let linger: ReturnType<typeof setTimeout> | undefined;
    // Always before we let go of the connection: from then on its port may be a stranger's.
    const forget = () => {
      if (from !== undefined && peers.get(from) === this.#peer) peers.delete(from);
    };
    const forgetClient = near.onClosed;
    const lingerFor = (ms: number) => void (linger ??= setTimeout(() => near.close(), ms).unref());
    near.onSentEnd = () => lingerFor(LINGER_MS);
    // Bun.serve ends its side as soon as the client does, unless it has no file descriptor to accept it with: then a
    // crowd of clients that have left would keep all. In TLS the client speaks first.
    near.onEnded = () => far.isUntold ? near.close() : lingerFor(LEFT_MS);
    near.onClosed = () => {
      clearTimeout(linger);
      forget();
      if (near.hasEnded) far.close();
      else far.reset();
      forgetClient?.();
    };
    far.onEnded = forget;
    far.onClosed = () => {
      forget();
      if (!far.hasEnded) near.reset();
    };
    const open = (socket: NativeSocket) => {
      peers.set(from = socket.localPort, this.#peer);
      far.open(socket);
    };
    const to = { hostname: "127.0.0.1", port, allowHalfOpen: true };
    Bun.connect({ ...to, socket: { ...HANDLERS, open } }).catch(() => near.reset());
  }

  destroy(): void {
    this.#near.close();
  }
}
