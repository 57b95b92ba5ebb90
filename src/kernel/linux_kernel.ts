import { Buffer } from "node:buffer";
import { EpollInstance } from "./epoll.ts";
import { type EpollEvent, FIRST_DESCRIPTOR, type Kernel, KernelError, type SocketAddress } from "./kernel.ts";
import { type Libc, type Memory, newMemory } from "./libc.ts";
import { OwnedDescriptors } from "./owned_descriptors.ts";
import { SocketOptions } from "./socket_options.ts";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;
const SO_COOKIE = 57;
const SO_BINDTOIFINDEX = 62;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_INFO = 11;
const TCP_NOTSENT_LOWAT = 25;
/** As far as the fields below. */
const TCP_INFO_BYTES = 32;
/** `tcpi_unacked` and `tcpi_sacked`: of a listener the length and the limit of its queue. */
const QUEUE_LENGTH_OFFSET = 24;
const QUEUE_LIMIT_OFFSET = 28;
const F_DUPFD_CLOEXEC = 1030;
const RLIMIT_NOFILE = 7;
/** `O_CLOEXEC`, which is `SOCK_CLOEXEC` as well, with `O_RDONLY`, which is 0. */
const CLOEXEC = 0x80000;

/** The index of a network interface that no machine has. */
const NO_INTERFACE = 0x7fffffff;

/**
 * The kernel of Linux, by calls of the C library. Each descriptor that outlives a call is an owned one, which ends with
 * the thread.
 */
export class LinuxKernel implements Kernel {
  readonly #libc: Libc;
  readonly #options: SocketOptions;
  readonly #owned = new OwnedDescriptors(this);
  #eventLoop: EpollInstance | undefined;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#options = new SocketOptions(libc);
  }

  duplicate(descriptor: number): number {
    return this.#owned.duplicate(descriptor);
  }

  close(descriptor: number): void {
    if (!this.#owned.close(descriptor)) this.#libc.close(descriptor);
  }

  replace(descriptor: number, socket: number): void {
    succeeded("replace", this.#libc.dup3(socket, descriptor, CLOEXEC));
  }

  lowestFree(): number {
    const descriptor = this.#takeFree();
    if (descriptor >= 0) this.#libc.close(descriptor);
    return descriptor;
  }

  hasFree(count: number): boolean {
    const taken: number[] = [];
    for (let descriptor = 0; taken.length < count && descriptor >= 0;) {
      descriptor = this.#takeFree();
      if (descriptor >= 0) taken.push(descriptor);
    }
    for (const descriptor of taken) this.#libc.close(descriptor);
    return taken.length === count;
  }

  tableSize(): number {
    const [, size] = /^FDSize:\s+(\d+)$/m.exec(readFile(this.#libc, "/proc/self/status", 4096)) ?? [];
    // Without a free descriptor the table is as large as the limit.
    return size === undefined ? descriptorLimit(this.#libc) : Number(size);
  }

  learnEventLoop(descriptor: number): void {
    for (let epoll = FIRST_DESCRIPTOR, end = this.tableSize(); epoll < end; epoll++) {
      const file = this.#libc.open(pathOf(`/proc/self/fdinfo/${epoll}`), CLOEXEC);
      if (file < 0) continue;
      const [registered = []] = new EpollInstance(this.#libc, epoll, file).registrations([descriptor]);
      // Deno has two descriptors of one instance: either serves.
      if (registered.length > 0) this.#eventLoop = new EpollInstance(this.#libc, epoll, this.duplicate(file));
      this.#libc.close(file);
      if (registered.length > 0) return;
    }
    throw new KernelError("learn the event loop", `no epoll instance has descriptor ${descriptor}`);
  }

  prepareRegistrations(): Promise<void> {
    return this.#learned.prepare(this.tableSize());
  }

  registrations(descriptors: readonly number[]): EpollEvent[][] {
    return this.#learned.registrations(descriptors);
  }

  register(descriptor: number, event: EpollEvent): void {
    this.#learned.register(descriptor, event);
  }

  unregister(descriptor: number): void {
    this.#learned.unregister(descriptor);
  }

  isListening(descriptor: number): boolean {
    return this.#options.int(descriptor, SOL_SOCKET, SO_ACCEPTCONN) === 1;
  }

  cookie(descriptor: number): bigint {
    return this.#options.read(descriptor, SOL_SOCKET, SO_COOKIE, 8)?.getBigUint64(0, true) ?? 0n;
  }

  port(descriptor: number): number {
    return this.#options.port(descriptor);
  }

  address(descriptor: number): SocketAddress {
    return this.#options.address(descriptor);
  }

  mark(descriptor: number): number {
    return this.#options.int(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT);
  }

  setMark(descriptor: number, mark: number): void {
    this.#options.setInt("mark", descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, mark);
  }

  setNoDelay(descriptor: number): void {
    this.#options.setInt("set TCP_NODELAY", descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  }

  queue(descriptor: number): { readonly length: number; readonly limit: number } {
    const info = this.#options.read(descriptor, IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES);
    if (!info) return { length: -1, limit: -1 };
    return { length: info.getUint32(QUEUE_LENGTH_OFFSET, true), limit: info.getUint32(QUEUE_LIMIT_OFFSET, true) };
  }

  listen(descriptor: number, backlog: number): void {
    succeeded("listen", this.#libc.listen(descriptor, backlog));
  }

  openDummy(): number {
    const dummy = succeeded("open a socket", this.#libc.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | CLOEXEC, 0));
    try {
      const address = newMemory(16);
      address.set([AF_INET, 0, 0, 0, 127, 0, 0, 1]);
      succeeded("bind", this.#libc.bind(dummy, address, address.length));
      // Before it listens: no packet comes in by this interface.
      this.#options.setInt("bind to an interface", dummy, SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE);
      this.listen(dummy, 1);
      return this.duplicate(dummy);
    } finally {
      this.#libc.close(dummy);
    }
  }

  get #learned(): EpollInstance {
    if (!this.#eventLoop) throw new KernelError("use the event loop", "it was not learned");
    return this.#eventLoop;
  }

  /** Takes the lowest free descriptor, or -1. */
  #takeFree(): number {
    // Standard input may be closed, but is needed only until the event loop is known.
    return this.#libc.fcntl(this.#eventLoop?.file ?? 0, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);
  }
}

function descriptorLimit(libc: Libc): number {
  const limits = newMemory(16);
  succeeded("getrlimit", libc.getrlimit(RLIMIT_NOFILE, limits));
  return Number(new DataView(limits.buffer).getBigUint64(0, true));
}

/** The beginning of a file; nothing if it cannot be opened. */
function readFile(libc: Libc, path: string, maxBytes: number): string {
  const file = libc.open(pathOf(path), CLOEXEC);
  if (file < 0) return "";
  const bytes = newMemory(maxBytes);
  const length = libc.pread(file, bytes, maxBytes, 0);
  libc.close(file);
  return Buffer.from(bytes.buffer).toString("latin1", 0, Math.max(0, length));
}

function succeeded(operation: string, result: number): number {
  if (result < 0) throw new KernelError(operation);
  return result;
}

/** A path as the C library takes it. */
function pathOf(path: string): Memory {
  const memory = newMemory(Buffer.byteLength(path) + 1);
  memory.set(Buffer.from(path));
  return memory;
}
