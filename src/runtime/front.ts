import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import process from "node:process";
import type { Duplex } from "node:stream";
import { clearTimeout, setTimeout } from "node:timers";
import type { TlsAcceptor } from "../tls_acceptor.ts";
import type { TlsState } from "../tls_state.ts";

/** A configuration that still serves connections. */
export interface Generation {
  /** Its number in the state. */
  readonly generation: number;
  /** How many connections it holds. */
  readonly connections: number;
}

/** What every server behind a front can be told beside its own options. */
export interface FrontOptions {
  /**
   * How long the connections of a replaced generation may go on before they are cut.
   *
   * @default {Infinity}
   */
  readonly drainTimeoutMs?: number;
  /**
   * Called with the error of a configuration that cannot serve, while the previous one goes on. By default it becomes
   * a process warning.
   */
  readonly onTlsError?: (error: unknown) => void;
}

/** Where the public listener stands. */
export interface FrontAddress {
  /** The address to listen on; all of the machine without it. */
  readonly hostname?: string | undefined;
  /** The port, 0 for one that is free. */
  readonly port: number;
  /** How many connections the system may queue. */
  readonly backlog?: number | undefined;
}

/** What serves the connections of one generation. */
export interface Backend {
  /** Takes over an accepted connection, which is paused. */
  serve(client: Socket): void;
  /** Called when the state holds a newer configuration: whoever does not come through the front must be refused. */
  guard?(): void;
  /** Called when newer connections go elsewhere and the last one here has ended. */
  close?(): void;
}

/** Starts the backend of a generation and proves that it can serve, or rejects. */
export type StartBackend<B extends Backend> = (acceptor: TlsAcceptor) => B | Promise<B>;

/** A backend and what it holds. */
class Living<B extends Backend> implements Generation {
  readonly clients = new Set<Socket>();
  readonly generation: number;
  readonly backend: B;
  drainTimer: ReturnType<typeof setTimeout> | undefined;
  isRetired = false;

  constructor(generation: number, backend: B) {
    this.generation = generation;
    this.backend = backend;
  }

  get connections(): number {
    return this.clients.size;
  }
}

/**
 * One public TCP listener in front of a native server, open for the server's whole life. What it accepts belongs to
 * the newest generation that has proved itself, and stays with it until it ends.
 */
export class Front<B extends Backend> {
  readonly #state: TlsState;
  readonly #start: StartBackend<B>;
  readonly #options: FrontOptions;
  readonly #server: Server;
  readonly #subscription: Disposable;
  readonly #living = new Set<Living<B>>();
  readonly #waiting = new Set<Socket>();
  readonly #finished = Promise.withResolvers<void>();
  #serving: Living<B>;
  /** The newest generation that was tried, whatever came of it. */
  #tried: number;
  #attempt: Promise<void> | undefined;
  #address = { hostname: "", port: 0 };
  #isClosed = false;

  private constructor(
    state: TlsState,
    start: StartBackend<B>,
    options: FrontOptions,
    first: { readonly generation: number; readonly backend: B },
  ) {
    this.#state = state;
    this.#start = start;
    this.#options = options;
    this.#tried = first.generation;
    this.#serving = new Living(first.generation, first.backend);
    this.#living.add(this.#serving);
    // Paused, as a connection may have to wait for its generation; half-open, as each direction ends by itself.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
      this.#accept(client);
    });
    this.#subscription = state.subscribe(() => this.#advance());
  }

  /**
   * Starts the first generation, then listens. Rejects if either fails, and leaves nothing open.
   *
   * @param state What to serve with.
   * @param address Where to listen.
   * @param start Called for each generation.
   * @param options What to do with old generations and with those that do not start.
   */
  static async open<B extends Backend>(
    state: TlsState,
    address: FrontAddress,
    start: StartBackend<B>,
    options: FrontOptions = {},
  ): Promise<Front<B>> {
    const acceptor = state.acceptor();
    const backend = await start(acceptor);
    const front = new Front(state, start, options, { generation: acceptor.generation, backend });
    try {
      await front.#listen(address);
    } catch (error) {
      front.close();
      throw error;
    }
    front.#advance();
    return front;
  }

  /** Where it listens. */
  get address(): { readonly hostname: string; readonly port: number } {
    return this.#address;
  }

  /** The generations that hold connections, the oldest first, and at the end the one that gets the next connection. */
  get generations(): Generation[] {
    return [...this.#living].map(({ generation, connections }) => ({ generation, connections }));
  }

  /** The backends of these generations. */
  get backends(): B[] {
    return [...this.#living].map(({ backend }) => backend);
  }

  /** The backend that gets the next connection. */
  get serving(): B {
    return this.#serving.backend;
  }

  /** Resolves when it has been closed and the last connection has ended. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Accepts no further connection. Those that are open go on. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#subscription[Symbol.dispose]();
    this.#server.close();
    for (const client of this.#waiting) client.destroy();
    for (const living of this.#living) this.#release(living);
  }

  /** Closes, and cuts every connection. */
  destroy(): void {
    this.close();
    for (const { clients } of this.#living) cut(clients);
  }

  /** Keeps the process running, as it does from the start. */
  ref(): void {
    this.#server.ref();
  }

  /** No longer keeps the process running. */
  unref(): void {
    this.#server.unref();
  }

  #listen({ hostname: host, port, backlog }: FrontAddress): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ port, ...(host && { host }), ...(backlog && { backlog }) }, () => {
        this.#server.off("error", reject);
        // Such as too many open files: the connections that are open go on, and the listener with them.
        this.#server.on("error", (error) => this.#report(error));
        const { address, port } = this.#server.address() as AddressInfo;
        this.#address = { hostname: address, port };
        resolve();
      });
    });
  }

  #accept(client: Socket): void {
    client.on("error", ignore);
    // Without a swap there is no promise in the path of a connection.
    if (this.#tried >= this.#state.generation) return this.#serve(client);
    this.#waiting.add(client);
    this.#tryUpTo(this.#state.generation).then(() => {
      this.#waiting.delete(client);
      if (!client.destroyed) this.#serve(client);
    });
  }

  #serve(client: Socket): void {
    const living = this.#serving;
    living.clients.add(client);
    client.once("close", () => {
      living.clients.delete(client);
      this.#release(living);
    });
    try {
      living.backend.serve(client);
    } catch (error) {
      client.destroy();
      this.#report(error);
    }
  }

  async #tryUpTo(generation: number): Promise<void> {
    while (this.#tried < generation && this.#attempt) await this.#attempt;
  }

  /** Tries the newest generation, and again what has become the newest meanwhile. */
  #advance(): void {
    if (this.#isClosed || this.#tried >= this.#state.generation) return;
    this.#serving.backend.guard?.();
    if (this.#attempt) return;
    this.#attempt = this.#try().then(() => {
      this.#attempt = undefined;
      this.#advance();
    });
  }

  async #try(): Promise<void> {
    const acceptor = this.#state.acceptor();
    try {
      const backend = await this.#start(acceptor);
      const previous = this.#serving;
      this.#living.add(this.#serving = new Living(acceptor.generation, backend));
      this.#retire(previous);
      this.#release(this.#serving);
    } catch (error) {
      this.#report(error);
    }
    this.#tried = acceptor.generation;
  }

  #retire(living: Living<B>): void {
    const { drainTimeoutMs = Infinity } = this.#options;
    living.isRetired = true;
    if (living.clients.size > 0 && drainTimeoutMs < Infinity) {
      living.drainTimer = setTimeout(() => cut(living.clients), drainTimeoutMs).unref();
    }
    this.#release(living);
  }

  #release(living: Living<B>): void {
    if (living.clients.size > 0 || !(living.isRetired || this.#isClosed)) return;
    if (!this.#living.delete(living)) return;
    clearTimeout(living.drainTimer);
    living.backend.close?.();
    if (this.#isClosed && this.#living.size === 0) this.#finished.resolve();
  }

  #report(error: unknown): void {
    const { onTlsError = (error) => process.emitWarning(error instanceof Error ? error : String(error)) } =
      this.#options;
    onTlsError(error);
  }
}

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

/** How long a peer may take to end its side after the server has ended the connection. */
const LINGER_MS = 5_000;

/**
 * Carries a client to a native server on the loopback interface and back: with backpressure, each direction ending by
 * itself, and a break on one side breaking the other.
 *
 * @param client The connection to carry, encrypted or not.
 * @param peer Who that is.
 * @param port Where the native server listens.
 * @param peers Knows the client until the native server has ended the connection.
 */
export function carry(client: Duplex, peer: Peer, port: number, peers: Peers): void {
  const inner = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
  let from: number | undefined;
  let linger: ReturnType<typeof setTimeout> | undefined;
  // Always before we let go of the connection: from then on its port may be a stranger's.
  const forget = () => {
    if (from !== undefined && peers.get(from) === peer) peers.delete(from);
  };
  inner.once("connect", () => peers.set(from = inner.localPort!, peer));
  inner.on("error", ignore).once("end", forget).once("close", () => {
    forget();
    if (!inner.readableEnded) return void reset(client);
    client.unpipe(inner).resume();
  });
  client.once("finish", () => linger = setTimeout(() => client.destroy(), LINGER_MS).unref());
  client.on("error", ignore).once("close", () => {
    clearTimeout(linger);
    forget();
    if (client.readableEnded) inner.destroy();
    else reset(inner);
  });
  client.pipe(inner).pipe(client);
}

/** The peer of a socket; known only while it is connected. */
export function peerOf({ remoteAddress, remotePort, remoteFamily }: Socket): Peer {
  return {
    address: remoteAddress ?? "",
    port: remotePort ?? 0,
    family: remoteFamily === "IPv6" ? "IPv6" : "IPv4",
  };
}

/** A break must not look like an end. */
function reset(socket: Duplex): void {
  if (socket instanceof Socket && !socket.destroyed) socket.resetAndDestroy();
  else socket.destroy();
}

function cut(clients: Iterable<Socket>): void {
  for (const client of clients) client.destroy();
}

/** A peer may break a connection at any time; what follows from it arrives as `"close"`. */
function ignore(): void {}
