import { clearTimeout, setTimeout } from "node:timers";
import type { Client, FrontAddress, Listen } from "../native/front.ts";
import { LINGER_MS, type Peer, type Peers } from "../native/peers.ts";

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
  /** Calls the handler of this name once after so long, or never for 0. */
  timeout(seconds: number): void;
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

/** How long `Bun.serve` may take to begin its answer to a client that has ended the connection. */
const LEFT_MS = 500;

/** Called without `this`, with the socket. */
const HANDLERS = {
  data: ({ data: side }: NativeSocket, bytes: Uint8Array) => void (side.other.send(bytes) || side.pause()),
  drain: ({ data: side }: NativeSocket) => side.flush(),
  end: ({ data: side }: NativeSocket) => side.ended(),
  close: ({ data: side }: NativeSocket, error?: Error) => side.closed(error),
  timeout: ({ data: side }: NativeSocket) => side.stalled(),
  // What follows from it arrives as `close`.
  error() {},
};

/** Where and how to listen with Bun. */
export interface BunAddress extends Omit<FrontAddress, "backlog"> {
  /** Whether other processes may listen there as well, on Linux. */
  readonly reusePort?: boolean | undefined;
  /** Whether an IPv6 address takes no IPv4. */
  readonly ipv6Only?: boolean | undefined;
  /** How long a client may take nothing of what is sent to it; 0 for ever. By default for ever. */
  readonly stallTimeoutSeconds?: number | undefined;
}

/**
 * Listens with `Bun.listen`, which carries more than `node:net` of Bun does.
 *
 * @param address Where and how.
 * @returns What a front takes.
 */
export function listenBun({ hostname, stallTimeoutSeconds = 0, ...address }: BunAddress): Listen<BunClient> {
  return ({ accepted, closed }) => {
    const open = (socket: NativeSocket) => accepted(new BunClient(socket, stallTimeoutSeconds, closed));
    const listen = (hostname: string) =>
      Bun.listen({ ...address, hostname, allowHalfOpen: true, socket: { ...HANDLERS, open } });
    const listener = hostname === undefined ? anywhere(listen) : listen(hostname);
    return {
      address: { hostname: listener.hostname, port: listener.port },
      close: () => listener.stop(),
      ref: () => listener.ref(),
      unref: () => listener.unref(),
    };
  };
}

/** Without IPv6 in the system, all of the machine is all of IPv4. */
function anywhere(listen: (hostname: string) => NativeListener): NativeListener {
  try {
    return listen("::");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) throw error;
    return listen("0.0.0.0");
  }
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
  readonly #stallTimeoutSeconds: number;

  constructor(stallTimeoutSeconds: number) {
    this.#stallTimeoutSeconds = stallTimeoutSeconds;
  }

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
    this.#socket?.timeout(this.#stallTimeoutSeconds);
    return false;
  }

  flush(): void {
    for (let bytes; (bytes = this.#unsent[0]);) {
      const sent = this.#socket!.write(bytes);
      if (sent < bytes.length) {
        this.#unsent[0] = bytes.subarray(Math.max(sent, 0));
        this.#socket!.timeout(this.#stallTimeoutSeconds);
        return;
      }
      this.#unsent.shift();
    }
    this.#socket!.timeout(0);
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

  closed(error?: Error): void {
    // Of a peer that ends after we have, Bun says only this.
    const isEnd = this.#hasSentEnd && !this.#isClosed && !error;
    this.#isClosed = true;
    this.#unsent.length = 0;
    if (isEnd) this.ended();
    this.onClosed?.();
    this.other.resume();
  }

  /** The system has taken nothing for long. */
  stalled(): void {
    if (this.#unsent.length > 0) this.reset();
  }

  /** Closes once all is sent. */
  closeSoon(): void {
    if (this.#hasSentEnd) return this.close();
    this.onSentEnd = () => this.close();
    setTimeout(() => this.close(), LINGER_MS).unref();
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
  readonly #near: Side;
  readonly #far = new Side(0);

  constructor(socket: NativeSocket, stallTimeoutSeconds: number, onClosed: (client: BunClient) => void) {
    this.#near = new Side(stallTimeoutSeconds);
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
    // crowd of clients that have left would keep all. In TLS the client speaks first, and is answered at once.
    near.onEnded = () => {
      if (far.isUntold) near.close();
      else if (near.isUntold) lingerFor(LEFT_MS);
    };
    near.onClosed = () => {
      clearTimeout(linger);
      forget();
      if (near.hasEnded) far.closeSoon();
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

  /** Lets go of a client that has not said anything: it has begun nothing that could be finished. */
  closeIfSilent(): void {
    if (this.#far.isUntold) this.#near.close();
  }
}
