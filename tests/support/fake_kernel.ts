import { type EpollEvent, type Kernel, KernelError, type SocketAddress } from "../../src/kernel/kernel.ts";
import type { TlsAcceptor } from "../../src/accept/tls_acceptor.ts";
import type { ListenAddress, NativeRuntime, NativeServer } from "../../src/native/native_server.ts";

interface FakeSocket {
  readonly cookie: bigint;
  readonly port: number;
  readonly isListening: boolean;
  readonly isDummy: boolean;
  mark: number;
  backlog: number;
  /** What waits to be accepted. */
  readonly queue: FakeConnection[];
}

/** A connection of a client. */
export interface FakeConnection {
  /** The mark that its socket was made with. */
  readonly mark: number;
  /** The generation that accepted it. */
  servedBy?: number;
  /** The other end is gone: its listener was closed before it was accepted, or its server was stopped. */
  isReset?: true;
  /** Its descriptor in the server. */
  descriptor?: number;
}

/** The operations that can fail. */
export const FALLIBLE = [
  "duplicate",
  "replace",
  "register",
  "unregister",
  "setMark",
  "setNoDelay",
  "listen",
] as const satisfies readonly (keyof Kernel)[];

const FIRST_DESCRIPTOR = 3;
const FIRST_PORT = 40_000;

/**
 * A kernel in memory: descriptors, sockets, and one epoll instance, which keeps registrations by socket and descriptor,
 * as Linux does.
 */
export class FakeKernel implements Kernel {
  readonly table = new Map<number, FakeSocket>();
  readonly epoll: { readonly descriptor: number; readonly socket: FakeSocket; readonly event: EpollEvent }[] = [];
  /** Called before each operation that can fail; what it throws is the failure. */
  before: (operation: typeof FALLIBLE[number]) => void = () => {};
  /** How many descriptors there may be. */
  limit = 256;
  #cookie = 0n;
  #port = FIRST_PORT;

  newSocket(options: { port?: number; isListening?: boolean; isDummy?: boolean; mark?: number } = {}): number {
    const { port = 0, isListening = false, isDummy = false, mark = 0 } = options;
    const descriptor = this.lowestFree();
    if (descriptor < 0) throw new KernelError("open a socket");
    const listeners = [...this.table.values()];
    if (isListening && listeners.some((each) => each.isListening && each.port === port)) throw new Error("EADDRINUSE");
    this.table.set(descriptor, {
      cookie: ++this.#cookie,
      port: port || this.#port++,
      isListening,
      isDummy,
      mark,
      backlog: 511,
      queue: [],
    });
    return descriptor;
  }

  duplicate(descriptor: number): number {
    this.before("duplicate");
    const socket = this.#socket("duplicate", descriptor);
    const free = this.lowestFree();
    if (free < 0) throw new KernelError("duplicate");
    this.table.set(free, socket);
    return free;
  }

  close(descriptor: number): void {
    const socket = this.table.get(descriptor);
    if (!socket) throw new Error(`descriptor ${descriptor} is closed twice`);
    this.table.delete(descriptor);
    this.#released(socket);
  }

  replace(descriptor: number, socket: number): void {
    this.before("replace");
    const next = this.#socket("replace", socket);
    const previous = this.table.get(descriptor);
    this.table.set(descriptor, next);
    if (previous) this.#released(previous);
  }

  lowestFree(): number {
    for (let descriptor = FIRST_DESCRIPTOR; descriptor < this.limit; descriptor++) {
      if (!this.table.has(descriptor)) return descriptor;
    }
    return -1;
  }

  hasFree(count: number): boolean {
    return this.limit - FIRST_DESCRIPTOR - this.table.size >= count;
  }

  tableSize(): number {
    return this.limit;
  }

  learnEventLoop(): void {}

  prepareRegistrations(): Promise<void> {
    return Promise.resolve();
  }

  registrations(descriptors: readonly number[]): EpollEvent[][] {
    return descriptors.map((descriptor) =>
      this.epoll.filter((each) => each.descriptor === descriptor).map(({ event }) => event)
    );
  }

  register(descriptor: number, event: EpollEvent): void {
    this.before("register");
    const socket = this.#socket("register", descriptor);
    if (this.#registration(descriptor) >= 0) throw new KernelError("register", "EEXIST");
    this.epoll.push({ descriptor, socket, event });
  }

  unregister(descriptor: number): void {
    this.before("unregister");
    const at = this.#registration(descriptor);
    if (at < 0) throw new KernelError("unregister", "ENOENT");
    this.epoll.splice(at, 1);
  }

  isListening(descriptor: number): boolean {
    return this.table.get(descriptor)?.isListening ?? false;
  }

  cookie(descriptor: number): bigint {
    return this.table.get(descriptor)?.cookie ?? 0n;
  }

  port(descriptor: number): number {
    return this.table.get(descriptor)?.port ?? -1;
  }

  address(descriptor: number): SocketAddress {
    return { hostname: "127.0.0.1", port: this.port(descriptor) };
  }

  mark(descriptor: number): number {
    return this.table.get(descriptor)?.mark ?? -1;
  }

  setMark(descriptor: number, mark: number): void {
    this.before("setMark");
    this.#socket("mark", descriptor).mark = mark;
  }

  setNoDelay(descriptor: number): void {
    this.before("setNoDelay");
    this.#socket("set TCP_NODELAY", descriptor);
  }

  queue(descriptor: number): { readonly length: number; readonly limit: number } {
    const socket = this.table.get(descriptor);
    return socket ? { length: socket.queue.length, limit: socket.backlog } : { length: -1, limit: -1 };
  }

  listen(descriptor: number, backlog: number): void {
    this.before("listen");
    this.#socket("listen", descriptor).backlog = backlog;
  }

  openDummy(): number {
    return this.newSocket({ isListening: true, isDummy: true });
  }

  /** A client connects. */
  connect(port: number): FakeConnection {
    const listener = [...this.table.values()].find((each) => each.isListening && !each.isDummy && each.port === port);
    if (!listener) return { mark: 0, isReset: true };
    const connection: FakeConnection = { mark: listener.mark };
    listener.queue.push(connection);
    return connection;
  }

  /** A client closes, and the server sees that. */
  disconnect(connection: FakeConnection): void {
    if (connection.descriptor !== undefined && !connection.isReset) this.close(connection.descriptor);
    connection.isReset = true;
  }

  #socket(operation: string, descriptor: number): FakeSocket {
    const socket = this.table.get(descriptor);
    if (!socket) throw new KernelError(operation, "EBADF");
    return socket;
  }

  #registration(descriptor: number): number {
    const socket = this.table.get(descriptor);
    return this.epoll.findIndex((each) => each.descriptor === descriptor && each.socket === socket);
  }

  #released(socket: FakeSocket): void {
    if ([...this.table.values()].includes(socket)) return;
    for (const connection of socket.queue) connection.isReset = true;
    socket.queue.length = 0;
    // Without a descriptor a file has no registration.
    for (let at = this.epoll.length; at-- > 0;) if (this.epoll[at]!.socket === socket) this.epoll.splice(at, 1);
  }
}

/** A native server on a {@linkcode FakeKernel}. */
export class FakeServer implements NativeServer {
  readonly acceptor: TlsAcceptor;
  readonly port: number;
  readonly descriptor: number;
  readonly event: EpollEvent;
  readonly connections: FakeConnection[] = [];
  isStopped = false;
  isDead = false;
  hasGivenUp = false;
  isRef = true;
  readonly #kernel: FakeKernel;
  readonly #ended = Promise.withResolvers<void>();
  readonly #exhausted = Promise.withResolvers<void>();

  constructor(kernel: FakeKernel, acceptor: TlsAcceptor, port: number, id: number) {
    this.#kernel = kernel;
    this.acceptor = acceptor;
    this.descriptor = kernel.newSocket({ port, isListening: true });
    this.port = kernel.port(this.descriptor);
    this.event = { events: 0x2019, data: 0xabc0_0000_0000n + BigInt(id) };
    const socket = kernel.table.get(this.descriptor)!;
    kernel.epoll.push({ descriptor: this.descriptor, socket, event: this.event });
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get exhausted(): Promise<void> {
    return this.#exhausted.promise;
  }

  /** Clients have filled its memory. */
  exhaust(): void {
    this.#exhausted.resolve();
  }

  get isRunning(): boolean {
    return !this.isStopped && !this.isDead;
  }

  /** What its event loop does: accepts from what is registered for it. */
  acceptAll(): void {
    const socket = this.#kernel.table.get(this.descriptor);
    const isReady = this.#kernel.epoll.some((each) => each.event === this.event && each.socket === socket);
    if (!this.isRunning || this.hasGivenUp || !socket || !isReady) return;
    for (const connection of socket.queue.splice(0)) {
      const { port } = socket;
      connection.descriptor = this.#kernel.newSocket({ port, mark: connection.mark });
      connection.servedBy = this.acceptor.generation;
      this.connections.push(connection);
    }
  }

  stop(): void {
    if (!this.isRunning) return;
    this.isStopped = true;
    this.#close();
    for (const connection of this.connections) this.#kernel.disconnect(connection);
    this.#ended.resolve();
  }

  /** Ends by itself, as `Deno.serve` does at its descriptor limit: its connections stay. */
  die(): void {
    if (!this.isRunning) return;
    this.isDead = true;
    this.#close();
    this.#ended.reject(new Error("EMFILE"));
  }

  /** Stops accepting by itself, and leaves its listener open. */
  giveUp(): void {
    this.hasGivenUp = true;
    this.#ended.reject(new Error("EMFILE"));
  }

  ref(): void {
    this.isRef = true;
  }

  unref(): void {
    this.isRef = false;
  }

  #close(): void {
    const socket = this.#kernel.table.get(this.descriptor);
    const at = this.#kernel.epoll.findIndex((each) => each.descriptor === this.descriptor && each.socket === socket);
    if (at >= 0) this.#kernel.epoll.splice(at, 1);
    this.#kernel.close(this.descriptor);
  }
}

/** Starts servers on a {@linkcode FakeKernel}; proofs take as many turns as they are told. */
export class FakeRuntime implements NativeRuntime<FakeServer> {
  readonly kernel: FakeKernel;
  readonly servers: FakeServer[] = [];
  /** Called before a server starts, and before its proof; what it throws is the failure. */
  beforeStart: (acceptor: TlsAcceptor) => void = () => {};
  beforeProof: (server: FakeServer) => void | Promise<void> = () => {};

  constructor(kernel: FakeKernel) {
    this.kernel = kernel;
  }

  start(acceptor: TlsAcceptor, { port }: ListenAddress): FakeServer {
    this.beforeStart(acceptor);
    const server = new FakeServer(this.kernel, acceptor, port, this.servers.length);
    this.servers.push(server);
    return server;
  }

  async prove(server: FakeServer): Promise<void> {
    await this.beforeProof(server);
    const connection = this.kernel.connect(server.port);
    await undefined;
    this.acceptAll();
    if (connection.servedBy !== server.acceptor.generation) throw new Error("the proof failed");
    this.kernel.disconnect(connection);
  }

  requireServable(): void {}

  /** A turn of the event loop of every server. */
  acceptAll(): void {
    for (const server of this.servers) server.acceptAll();
  }
}
